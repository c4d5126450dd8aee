// The backward pass of normalize, one workgroup for each row. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

// Their codes: the indices in Norm::ALL, src/kernel/norm.rs.
const NORM_AFFINE: u32 = 0u;
const NORM_STANDARD: u32 = 1u;
const NORM_LAYER: u32 = 2u;
const NORM_RMS: u32 = 3u;
const NORM_L2: u32 = 4u;
const NORM_PRELU: u32 = 5u;
override NORM: u32 = NORM_AFFINE;

@group(0) @binding(1) var<storage, read> weights: array<f32>; // [2][width of a and b]
@group(0) @binding(2) var<storage, read> source: array<f32>; // [..][units]
@group(0) @binding(3) var<storage, read> delta: array<f32>; // [..][units]
@group(0) @binding(4) var<storage, read_write> result: array<f32>; // [..][units]
@group(0) @binding(5) var<storage, read_write> product: array<f32>; // [..][units]

// Returns number c of row `row` of the weights: a or b.
fn weight_of(row: u32, c: u32) -> f32 {
    return weights[row * params.source_units + select(c, 0u, params.count == 1u)];
}

@compute @workgroup_size(WORKGROUP)
fn normalize_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units;
    let source_at = (params.source_0 + group.y) * width;
    let delta_at = (params.source_1 + group.y) * width;
    let result_at = (params.target_0 + group.y) * width;
    let product_at = (params.target_1 + group.y) * width;
    let count = f32(params.features);
    let epsilon = bitcast<f32>(params.scale);
    let by_row = NORM == NORM_LAYER || NORM == NORM_RMS || NORM == NORM_L2;

    var mean = 0.0;
    if NORM == NORM_LAYER {
        for (var c = lane; c < params.features; c += WORKGROUP) {
            mean += source[source_at + c];
        }
    }
    mean = sum_of_lanes(lane, mean) / count;

    var squares = 0.0;
    if by_row {
        for (var c = lane; c < params.features; c += WORKGROUP) {
            let x = source[source_at + c] - mean;
            squares += x * x;
        }
    }
    squares = sum_of_lanes(lane, squares);
    // What x − mean is multiplied with, and whether that depends on x.
    var factor = 1.0 / sqrt(squares / count + epsilon);
    var parts = count;
    if NORM == NORM_L2 {
        let length = sqrt(squares);
        factor = 1.0 / select(length, epsilon, length < epsilon);
        parts = 1.0;
        if length < epsilon {
            squares = 0.0;
        }
    }

    // The sums of the gradient of x̂, and of its product with x̂.
    var plain = 0.0;
    var along = 0.0;
    if by_row {
        for (var c = lane; c < params.features; c += WORKGROUP) {
            let d = delta[delta_at + c] * weight_of(0u, c);
            plain += d;
            along += d * (source[source_at + c] - mean) * factor;
        }
    }
    plain = sum_of_lanes(lane, plain) / parts;
    along = sum_of_lanes(lane, along) / parts;
    if NORM != NORM_LAYER {
        plain = 0.0;
    }
    if NORM == NORM_L2 && squares == 0.0 {
        along = 0.0;
    }

    for (var c = lane; c < width; c += WORKGROUP) {
        var dx = 0.0;
        var dp = 0.0;
        if c < params.features {
            let x = source[source_at + c];
            let d = delta[delta_at + c];
            let a = weight_of(0u, c);
            if NORM == NORM_PRELU {
                dx = select(d * a, d, x > 0.0);
                dp = select(d * x, 0.0, x > 0.0);
            } else if NORM == NORM_AFFINE {
                dx = d * a;
                dp = d * x;
            } else if NORM == NORM_STANDARD {
                dx = d / sqrt(weight_of(1u, c) + epsilon);
            } else {
                let normal = (x - mean) * factor;
                dx = factor * (d * a - plain - normal * along);
                dp = d * normal;
            }
        }
        result[result_at + c] = dx;
        product[product_at + c] = dp;
    }
}
