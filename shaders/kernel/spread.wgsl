// A copy of rows for each gate of a product, each with its own elements dropped. See src/kernel/catalog/training.rs.
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][source_directions][units]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][tokens][units / 16][G][16]

@compute @workgroup_size(WORKGROUP)
fn spread(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    if p.four < params.units / 4u {
        let value = source[row_at(p, params.source_0, params.source_1, params.source_directions) + p.four];
        let at = row_at(p, params.target_0, params.target_1, params.tokens) * GATES + copy_at(p);
        for (var g = 0u; g < GATES; g++) {
            result[at + g * 4u] = kept(p, g, value);
        }
    }
}
