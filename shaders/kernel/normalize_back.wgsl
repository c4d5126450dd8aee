// The backward pass of normalize, one workgroup for each row. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(3) var<storage, read> delta: array<f32>; // [..][units]
@group(0) @binding(4) var<storage, read_write> result: array<f32>; // [..][units]
@group(0) @binding(5) var<storage, read_write> product: array<f32>; // [..][units]

@compute @workgroup_size(WORKGROUP)
fn normalize_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units;
    let source_at = (params.source_0 + group.y) * width;
    let delta_at = (params.source_1 + group.y) * width;
    let result_at = (params.target_0 + group.y) * width;
    let product_at = (params.target_1 + group.y) * width;
    let epsilon = bitcast<f32>(params.scale);
    let moments = moments_of(lane, source_at);

    // The sums of the gradient of x̂, and of its product with x̂.
    var plain = 0.0;
    var along = 0.0;
    if NORM == NORM_LAYER || NORM == NORM_RMS || NORM == NORM_L2 {
        for (var c = lane; c < params.features; c += WORKGROUP) {
            let d = delta[delta_at + c] * weight_of(0u, c);
            plain += d;
            along += d * (source[source_at + c] - moments.mean) * moments.factor;
        }
    }
    let parts = select(f32(params.features), 1.0, NORM == NORM_L2);
    plain = sum_if_centred(lane, plain) / parts;
    along = sum_if_by_row(lane, along) / parts;
    // The factor of a row that is shorter than ε does not depend on it.
    if NORM == NORM_L2 && sqrt(moments.squares) < epsilon {
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
                let normal = (x - moments.mean) * moments.factor;
                dx = moments.factor * (d * a - plain - normal * along);
                dp = d * normal;
            }
        }
        result[result_at + c] = dx;
        product[product_at + c] = dp;
    }
}
