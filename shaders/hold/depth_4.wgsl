// A scan keeps its weights in registers: each invocation has 4 rows of the depth.
// There are constant indices and no loop, so that every driver takes the array apart.
var<private> held: array<Gates, 4>;

fn hold_weights(p: Place) {
    hold_bias(p);
    hold_four(p, 0u);
}

fn held_product(p: Place) {
    start_rows(p, held_bias);
    add_four(p, 0u);
}
