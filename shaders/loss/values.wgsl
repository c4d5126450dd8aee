// A value for each output.
@group(0) @binding(2) var<storage, read> values: array<f32>; // [..][D · units]

fn target_value(row: u32, c: u32) -> f32 {
    return values[row * params.directions * params.units + c];
}
