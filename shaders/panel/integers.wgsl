// A panel of 8-bit integers, four in each word. After the depth come rows of 32-bit floats,
// each four times as long: the scales of the integers, then the bias, then peepholes. A
// weight is exactly integer times scale, so that sums are like those of floats.
const SCALES: u32 = 0u;
const BIAS: u32 = 1u;
const PEEPHOLES: u32 = 2u;

var<private> scales: Gates;

// Returns the fours of integers in a panel with `rows_after` rows after those of the depth.
fn panel_fours(rows_after: u32) -> u32 {
    return (params.depth + 4u * (1u + rows_after)) * 4u * PRODUCT_GATES;
}

// Loads a gate of row `row` after those of the depth. `first` is the place of gate 0 of depth 0, in fours of
// integers. A panel starts at a multiple of four of those, so the remainder of `first` says which four units it is.
fn load_after(first: u32, row: u32, gate: u32) -> vec4<f32> {
    return load_floats(first + 3u * (first % 4u) + ((params.depth + 4u * row) * PRODUCT_GATES + 4u * gate) * 4u);
}

fn load_scales(first: u32) {
    scales = load_row_after(first, SCALES);
}

// Loads a row of the depth, after its panel's scales were loaded.
fn load_row(at: u32) -> Gates {
    return times(load_gates(at), scales);
}
