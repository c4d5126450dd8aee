// GRU, reset before the product: r ∘ h of many rows. See src/kernel/catalog/training.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(2) var<storage, read> gates: array<vec4<f32>>; // [..][P][3][16]
@group(0) @binding(4) var<storage, read> recurrent: array<vec4<f32>>; // [..][P][2][16]
@group(0) @binding(5) var<storage, read> hidden: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(6) var<storage, read_write> result: array<vec4<f32>>; // [..][units]

@compute @workgroup_size(WORKGROUP)
fn reset_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let four = group.x * WORKGROUP + lane;
    let fours = params.units / 4u;
    if four < fours {
        let panel = (params.target_0 + group.y) * (params.units / 16u) + four / 4u;
        let sum = gates[panel * 12u + four % 4u] + recurrent[panel * 8u + four % 4u];
        let h = hidden[((params.source_0 + group.y) * params.directions + params.direction) * fours + four];
        let is_true = (4u * four + vec4(0u, 1u, 2u, 3u)) < vec4(params.features);
        result[(params.target_0 + group.y) * fours + four] = select(vec4(0.0), function_f(sum) * h, is_true);
    }
}
