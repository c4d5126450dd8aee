// One tensor in two packed buffers. See src/kernel/catalog/update.rs.
const WORKGROUP: u32 = 64u;

override FIRST: bool = false;

@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn tie(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let read = Layout(params.source_0, params.source_1, params.gates_0, params.source_units, params.source_features);
    let written = Layout(params.target_0, params.target_1, params.gates_1, params.units, params.source_directions);
    let column = group.x * WORKGROUP + lane;
    if column < params.features {
        let read_at = place(read, group.y + params.offset, column);
        let write_at = place(written, group.y + params.offset, column);
        result[write_at] = select(result[write_at], 0.0, FIRST) + source[read_at];
    }
}
