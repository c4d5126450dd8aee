// The loss of each row of outputs, and its gradient, one workgroup for each row.
// See src/kernel/catalog.rs. loss/*.wgsl supplies row_loss() and gradient().
const WORKGROUP: u32 = 64u;

// RowLoss in src/kernel/training.rs.
const LOSS_CROSS_ENTROPY: u32 = 0u;
const LOSS_BINARY_CROSS_ENTROPY: u32 = 1u;
const LOSS_SQUARED: u32 = 2u;
const LOSS_ABSOLUTE: u32 = 3u;
const LOSS_HUBER: u32 = 4u;
const LOSS_SUM_OF_SQUARES: u32 = 5u;
override LOSS: u32 = LOSS_CROSS_ENTROPY;
override CONSTANT: f32 = 0.0;

@group(0) @binding(1) var<storage, read> source: array<f32>; // [..][D · units]
@group(0) @binding(3) var<storage, read> scale: array<f32>; // [..]
@group(0) @binding(5) var<storage, read_write> result: array<f32>; // [..][D · units]
@group(0) @binding(6) var<storage, read_write> losses: array<f32>; // [..]

// Whether column c is a feature, and not padding.
fn is_feature(c: u32) -> bool {
    return c % params.units < params.features;
}

// Returns the index of column c among the true features.
fn feature_at(c: u32) -> u32 {
    return c / params.units * params.features + c % params.units;
}

@compute @workgroup_size(WORKGROUP)
fn loss(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units;
    // Bindings for rows of the call have their own windows, so their rows differ from those of the gradient.
    let row = params.source_1 + group.y;
    let write_at = (params.target_0 + group.y) * width;
    let read_at = (params.source_0 + group.y) * width;
    let by = scale[row];
    let is_counted = by != 0.0;
    let lost = row_loss(row, read_at, lane);
    for (var c = lane; c < width; c += WORKGROUP) {
        let value = by * gradient(row, c, source[read_at + c]);
        result[write_at + c] = select(0.0, value, is_feature(c) && is_counted);
    }
    if lane == 0u {
        losses[row] = select(0.0, by * lost, is_counted);
    }
}
