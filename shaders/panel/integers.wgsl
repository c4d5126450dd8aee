// A panel of 8-bit integers, four of them a word: after the depth rows of 32-bit floats, each four times as long: what the
// integers count, then the bias, then peepholes. A weight is integer times scale, exactly, so that sums are those of floats.
const SCALES: u32 = 0u;
const BIAS: u32 = 1u;
const PEEPHOLES: u32 = 2u;

var<private> scales: Gates;

// Fours of integers in a panel with so many rows after those of the depth.
fn panel_fours(rows_after: u32) -> u32 {
    return (params.depth + 4u * (1u + rows_after)) * 4u * PRODUCT_GATES;
}

// A gate of row `row` after those of the depth; `first`: where gate 0 of depth 0 is, in fours of integers. A panel starts at
// a multiple of four of those, so that the rest says which four units are meant.
fn load_after(first: u32, row: u32, gate: u32) -> vec4<f32> {
    return load_floats(first + 3u * (first % 4u) + ((params.depth + 4u * row) * PRODUCT_GATES + 4u * gate) * 4u);
}

fn load_scales(first: u32) {
    scales = load_row_after(first, SCALES);
}

// A row of the depth, once its panel's scales are loaded.
fn load_row(at: u32) -> Gates {
    return times(load_gates(at), scales);
}
