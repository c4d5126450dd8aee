// The backward pass of an elementwise activation. See src/kernel/catalog/training.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]

@compute @workgroup_size(WORKGROUP)
fn activate_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    if c < width {
        let at = group.y * width + c;
        let slope = slope_chosen(source[params.source_0 * width + at]);
        let is_true = (4u * c % params.units + vec4(0u, 1u, 2u, 3u)) < vec4(params.features);
        result[params.target_0 * width + at] = select(vec4(0.0), delta[params.source_1 * width + at] * slope, is_true);
    }
}
