// The rows of all timesteps, added up. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

override FIRST: bool = false;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][B][D · units]
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]

@compute @workgroup_size(WORKGROUP)
fn sum_steps(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    if c < width {
        let write_at = (params.target_0 + group.y) * width + c;
        let read_at = (params.source_0 + group.y) * width + c;
        var sum = select(result[write_at], vec4(0.0), FIRST);
        for (var t = 0u; t < params.steps; t++) {
            sum += source[read_at + t * params.batch * width];
        }
        result[write_at] = sum;
    }
}
