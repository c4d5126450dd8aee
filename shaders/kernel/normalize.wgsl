// The features of a row, normalised, one workgroup for each row. See src/kernel/catalog.rs.
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
@group(0) @binding(3) var<storage, read_write> result: array<f32>; // [..][units]

// Returns number c of row `row` of the weights: a or b.
fn weight_of(row: u32, c: u32) -> f32 {
    return weights[row * params.source_units + select(c, 0u, params.count == 1u)];
}

@compute @workgroup_size(WORKGROUP)
fn normalize(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units;
    let read_at = (params.source_0 + group.y) * width;
    let write_at = (params.target_0 + group.y) * width;
    let count = f32(params.features);
    let epsilon = bitcast<f32>(params.scale);

    var mean = 0.0;
    if NORM == NORM_LAYER {
        for (var c = lane; c < params.features; c += WORKGROUP) {
            mean += source[read_at + c];
        }
    }
    mean = sum_of_lanes(lane, mean) / count;

    var squares = 0.0;
    if NORM == NORM_LAYER || NORM == NORM_RMS || NORM == NORM_L2 {
        for (var c = lane; c < params.features; c += WORKGROUP) {
            let x = source[read_at + c] - mean;
            squares += x * x;
        }
    }
    squares = sum_of_lanes(lane, squares);
    var factor = 1.0 / sqrt(squares / count + epsilon);
    if NORM == NORM_L2 {
        let length = sqrt(squares);
        factor = 1.0 / select(length, epsilon, length < epsilon);
    }

    for (var c = lane; c < width; c += WORKGROUP) {
        var y = 0.0;
        if c < params.features {
            let x = source[read_at + c];
            let a = weight_of(0u, c);
            if NORM == NORM_PRELU {
                y = select(a * x, x, x > 0.0);
            } else {
                let b = weight_of(1u, c);
                if NORM == NORM_AFFINE {
                    y = x * a + b;
                } else if NORM == NORM_STANDARD {
                    y = (x - a) / sqrt(b + epsilon);
                } else {
                    y = (x - mean) * factor * a + b;
                }
            }
        }
        result[write_at + c] = y;
    }
}
