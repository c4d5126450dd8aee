// Softmax or log-softmax over the features of a row, one workgroup for each row. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

// Their codes: the indices in Activation::ALL, src/cell/activation.rs.
const FUNCTION_SOFTMAX: u32 = 28u;
const FUNCTION_LOG_SOFTMAX: u32 = 29u;
override ACTIVATION: u32 = FUNCTION_SOFTMAX;

@group(0) @binding(1) var<storage, read> source: array<f32>; // [..][D · units]
@group(0) @binding(2) var<storage, read_write> result: array<f32>; // [..][D · units]

// Whether column c is a feature, and not padding.
fn is_feature(c: u32) -> bool {
    return c % params.units < params.features;
}

@compute @workgroup_size(WORKGROUP)
fn softmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units;
    let read_at = (params.source_0 + group.y) * width;
    let write_at = (params.target_0 + group.y) * width;

    var highest = -3.4e38;
    for (var c = lane; c < width; c += WORKGROUP) {
        highest = max(highest, select(-3.4e38, source[read_at + c], is_feature(c)));
    }
    highest = highest_of_lanes(lane, highest);

    var sum = 0.0;
    for (var c = lane; c < width; c += WORKGROUP) {
        sum += select(0.0, exp_bounded(vec4(source[read_at + c] - highest)).x, is_feature(c));
    }
    let total = sum_of_lanes(lane, sum);

    let log_total = logarithm(vec4(total)).x;
    for (var c = lane; c < width; c += WORKGROUP) {
        let shifted = source[read_at + c] - highest;
        let value = select(exp_bounded(vec4(shifted)).x / total, shifted - log_total, ACTIVATION == FUNCTION_LOG_SOFTMAX);
        result[write_at + c] = select(0.0, value, is_feature(c));
    }
}
