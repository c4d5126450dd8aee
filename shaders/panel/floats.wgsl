// A panel of floats. All its rows have one form: those of the depth, then the bias, then peepholes.
const BIAS: u32 = 0u;
const PEEPHOLES: u32 = 1u;

// Returns the fours of a panel with `rows_after` rows after those of the depth.
fn panel_fours(rows_after: u32) -> u32 {
    return (params.depth + rows_after) * ROW_FOURS;
}

// Loads a gate of row `row` after those of the depth. `first` is the place of gate 0 of depth 0.
fn load_after(first: u32, row: u32, gate: u32) -> vec4<f32> {
    return load_weight(first + (params.depth + row) * ROW_FOURS + gate * gate_fours());
}

fn load_scales(first: u32) {
}

// Loads a row of the depth.
fn load_row(at: u32) -> Gates {
    return load_gates(at);
}
