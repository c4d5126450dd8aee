// Elements dropped at random, and the others scaled up. See src/kernel/catalog/training.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(2) var<storage, read> draws: array<u32>; // [4]: the key, B of the call, the first row of the batch
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]

@compute @workgroup_size(WORKGROUP)
fn drop(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    if c < width {
        let at = group.y * width + c;
        let row = params.source_1 + group.y;
        let counter = row / params.batch * params.time_step_0 * draws[2] + draws[3] + row % params.batch;
        let unit = 4u * c % params.units + vec4(0u, 1u, 2u, 3u);
        let feature = 4u * c / params.units * params.features + unit;
        let bits = random_bits(vec2(draws[0], draws[1]), counter, feature);
        let is_kept = (unit < vec4(params.features)) & (bits >= vec4(params.token));
        let value = source[params.source_0 * width + at] * bitcast<f32>(params.scale);
        result[params.target_0 * width + at] = select(vec4(0.0), value, is_kept);
    }
}
