// The backward pass of copies of rows for each gate of a product. See src/kernel/catalog/training.rs.
override FIRST: bool = false;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][source_directions][units / 16][G][16]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][tokens][units]

@compute @workgroup_size(WORKGROUP)
fn spread_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    if p.four < params.units / 4u {
        let begin = row_at(p, params.source_0, params.source_1, params.source_directions) * GATES + copy_at(p);
        let at = row_at(p, params.target_0, params.target_1, params.tokens) + p.four;
        var sum = select(result[at], vec4(0.0), FIRST);
        for (var g = 0u; g < GATES; g++) {
            sum += kept(p, g, source[begin + g * 4u]);
        }
        result[at] = sum;
    }
}
