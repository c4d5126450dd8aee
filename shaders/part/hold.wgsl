// Weights that an invocation keeps from the first step of a scan to the last, in `held`. hold/*.wgsl has its size.
var<private> held_bias: Gates;

// Returns the place of row 4i of the slice's share of the depth, in fours.
fn held_at(p: Place, i: u32) -> u32 {
    return weight_start(p) + (p.slice + i * SLICES) * 16u * PRODUCT_GATES;
}

// Loads the start of the sums: the bias for slice 0, and 0 for the others.
// The panel's scales come first, since rows cannot be loaded without them.
fn hold_bias(p: Place) {
    load_scales(weight_start(p));
    if p.slice == 0u {
        held_bias = load_row_after(weight_start(p), BIAS);
    }
}

fn hold_four(p: Place, i: u32) {
    let at = held_at(p, i);
    held[4u * i] = load_row(at);
    held[4u * i + 1u] = load_row(at + 4u * PRODUCT_GATES);
    held[4u * i + 2u] = load_row(at + 8u * PRODUCT_GATES);
    held[4u * i + 3u] = load_row(at + 12u * PRODUCT_GATES);
}

fn add_four(p: Place, i: u32) {
    add_rows(p.slice + i * SLICES, held[4u * i], held[4u * i + 1u], held[4u * i + 2u], held[4u * i + 3u]);
}
