// Weights that an invocation keeps from the first step of a scan to the last, in `held`: hold/*.wgsl has its size.
var<private> held_bias: Gates;

// Where row 4i of the slice's share of the depth is, in fours.
fn held_at(p: Place, i: u32) -> u32 {
    return weight_start(p) + (p.slice + i * SLICES) * 16u * PRODUCT_GATES;
}

// Slice 0 starts from the bias, the others from nothing.
fn hold_bias(p: Place) {
    if p.slice == 0u {
        held_bias = load_gates(weight_start(p) + params.depth * 4u * PRODUCT_GATES);
    }
}

fn hold_four(p: Place, i: u32) {
    let at = held_at(p, i);
    held[4u * i] = load_gates(at);
    held[4u * i + 1u] = load_gates(at + 4u * PRODUCT_GATES);
    held[4u * i + 2u] = load_gates(at + 8u * PRODUCT_GATES);
    held[4u * i + 3u] = load_gates(at + 12u * PRODUCT_GATES);
}

fn add_four(p: Place, i: u32) {
    add_rows(p.slice + i * SLICES, held[4u * i], held[4u * i + 1u], held[4u * i + 2u], held[4u * i + 3u]);
}
