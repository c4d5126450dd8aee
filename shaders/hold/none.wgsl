// A scan loads its weights again at every step: from a cache, if they fit one.
fn hold_weights(p: Place) {
}

fn held_product(p: Place) {
    product(p, weight_start(p), p.slice, SLICES);
}
