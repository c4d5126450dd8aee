// What normalize and its backward pass have in common. Their codes: the indices in Norm::ALL, src/kernel/norm.rs.
const NORM_AFFINE: u32 = 0u;
const NORM_STANDARD: u32 = 1u;
const NORM_LAYER: u32 = 2u;
const NORM_RMS: u32 = 3u;
const NORM_L2: u32 = 4u;
const NORM_PRELU: u32 = 5u;
override NORM: u32 = NORM_AFFINE;

@group(0) @binding(1) var<storage, read> weights: array<f32>; // [2][width of a and b]
@group(0) @binding(2) var<storage, read> source: array<f32>; // [..][units]

// Returns number c of row `row` of the weights: a or b.
fn weight_of(row: u32, c: u32) -> f32 {
    return weights[row * params.source_units + select(c, 0u, params.count == 1u)];
}

// What normalises a row x: x − mean is multiplied with the factor.
struct Moments {
    mean: f32,
    squares: f32, // of x − mean
    factor: f32,
}

// Returns those of the row that begins at `at`.
fn moments_of(lane: u32, at: u32) -> Moments {
    let count = f32(params.features);
    let epsilon = bitcast<f32>(params.scale);
    var mean = 0.0;
    if NORM == NORM_LAYER {
        for (var c = lane; c < params.features; c += WORKGROUP) {
            mean += source[at + c];
        }
    }
    mean = sum_if_centred(lane, mean) / count;

    var squares = 0.0;
    if NORM == NORM_LAYER || NORM == NORM_RMS || NORM == NORM_L2 {
        for (var c = lane; c < params.features; c += WORKGROUP) {
            let x = source[at + c] - mean;
            squares += x * x;
        }
    }
    squares = sum_if_by_row(lane, squares);
    let length = sqrt(squares);
    let of_length = 1.0 / select(length, epsilon, length < epsilon);
    return Moments(mean, squares, select(1.0 / sqrt(squares / count + epsilon), of_length, NORM == NORM_L2));
}
