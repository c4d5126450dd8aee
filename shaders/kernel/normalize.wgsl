// The features of a row, normalised, one workgroup for each row. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(3) var<storage, read_write> result: array<f32>; // [..][units]

@compute @workgroup_size(WORKGROUP)
fn normalize(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units;
    let read_at = (params.source_0 + group.y) * width;
    let write_at = (params.target_0 + group.y) * width;
    let epsilon = bitcast<f32>(params.scale);
    let moments = moments_of(lane, read_at);

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
                    y = (x - moments.mean) * moments.factor * a + b;
                }
            }
        }
        result[write_at + c] = y;
    }
}
