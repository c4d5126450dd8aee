// Unit vectors by token. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read> tokens: array<u32>; // [T][B]
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // [..][width]

@compute @workgroup_size(WORKGROUP)
fn one_hot(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = group.x * WORKGROUP + lane;
    let token = tokens[params.source_0 + group.y];
    if c < params.units / 4u {
        let one = vec4(c * 4u, c * 4u + 1u, c * 4u + 2u, c * 4u + 3u) == vec4(token);
        result[(params.target_0 + group.y) * (params.units / 4u) + c] = select(vec4(0.0), vec4(1.0), one);
    }
}
