// Losses of each output by itself; loss/values.wgsl or loss/none.wgsl supplies target_value().

// Returns the loss of output z against y.
fn term(z: f32, y: f32) -> f32 {
    let d = z - y;
    switch LOSS {
        case LOSS_BINARY_CROSS_ENTROPY: {
            let t = y * (1.0 - CONSTANT) + CONSTANT * 0.5;
            return max(z, 0.0) - z * t + log_one_plus(exp_bounded(vec4(-abs(z)))).x;
        }
        case LOSS_SQUARED: { return d * d; }
        case LOSS_ABSOLUTE: { return abs(d); }
        case LOSS_HUBER: {
            return select(0.5 * d * d, CONSTANT * (abs(d) - 0.5 * CONSTANT), abs(d) > CONSTANT);
        }
        default: { return z * z; }
    }
}

fn slope(z: f32, y: f32) -> f32 {
    let d = z - y;
    switch LOSS {
        case LOSS_BINARY_CROSS_ENTROPY: { return sigmoid(vec4(z)).x - (y * (1.0 - CONSTANT) + CONSTANT * 0.5); }
        case LOSS_SQUARED: { return 2.0 * d; }
        case LOSS_ABSOLUTE: { return keep_nan(vec4(d), vec4(sign(d))).x; }
        case LOSS_HUBER: { return keep_nan(vec4(d), vec4(clamp(d, -CONSTANT, CONSTANT))).x; }
        default: { return 2.0 * z; }
    }
}

fn row_loss(row: u32, read_at: u32, lane: u32) -> f32 {
    let width = params.directions * params.units;
    var sum = 0.0;
    for (var c = lane; c < width; c += WORKGROUP) {
        sum += select(0.0, term(source[read_at + c], target_value(row, c)), is_feature(c));
    }
    return sum_of_lanes(lane, sum);
}

fn gradient(row: u32, c: u32, z: f32) -> f32 {
    return slope(z, target_value(row, c));
}
