// Gates see the cell state of their own unit. The row after the bias has the weights, gate by gate.
const ROWS_AFTER_DEPTH: u32 = 2u;

var<private> peepholes: array<vec4<f32>, PRODUCT_GATES>;

// Loads the peepholes of the place's four units.
fn load_peepholes(p: Place) {
    peepholes = as_array(load_row_after(weight_start(p), PEEPHOLES));
}

fn add_peephole(sum: vec4<f32>, gate: u32, c: vec4<f32>) -> vec4<f32> {
    return sum + peepholes[gate] * c;
}
