// The backward pass of a softmax or its logarithm, one workgroup for each row. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

// Their codes: the indices in Activation::ALL, src/cell/activation.rs.
const FUNCTION_SOFTMAX: u32 = 28u;
const FUNCTION_LOG_SOFTMAX: u32 = 29u;
override ACTIVATION: u32 = FUNCTION_SOFTMAX;

@group(0) @binding(1) var<storage, read> source: array<f32>; // [..][D · units]
@group(0) @binding(2) var<storage, read> delta: array<f32>; // [..][D · units]
@group(0) @binding(3) var<storage, read_write> result: array<f32>; // [..][D · units]

// Whether column c is a feature, and not padding.
fn is_feature(c: u32) -> bool {
    return c % params.units < params.features;
}

@compute @workgroup_size(WORKGROUP)
fn softmax_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units;
    let source_at = (params.source_0 + group.y) * width;
    let delta_at = (params.source_1 + group.y) * width;
    let write_at = (params.target_0 + group.y) * width;
    let is_log = ACTIVATION == FUNCTION_LOG_SOFTMAX;

    var sum = 0.0;
    for (var c = lane; c < width; c += WORKGROUP) {
        let d = delta[delta_at + c];
        sum += select(0.0, select(d * source[source_at + c], d, is_log), is_feature(c));
    }
    let total = sum_of_lanes(lane, sum);

    for (var c = lane; c < width; c += WORKGROUP) {
        let y = source[source_at + c];
        let d = delta[delta_at + c];
        let value = select(y * (d - total), d - exp_bounded(vec4(y)).x * total, is_log);
        result[write_at + c] = select(0.0, value, is_feature(c));
    }
}
