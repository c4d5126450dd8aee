// Rows of a table by token. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(2) var<storage, read> tokens: array<u32>; // [T][B]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][width]

@compute @workgroup_size(WORKGROUP)
fn gather(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    let row = group.y;
    let token = tokens[of_direction(group.z, params.source_0, params.source_1) + row] - params.token;
    if c < width && token < params.tokens {
        let at = (of_direction(group.z, params.target_0, params.target_1) + row) * width + c;
        result[at] = load_weight((params.weight_panel + group.z * params.weight_panels + token) * width + c);
    }
}
