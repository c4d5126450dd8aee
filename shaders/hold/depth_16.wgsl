// A scan keeps its weights in registers: each invocation has 16 rows of the depth.
// There are constant indices and no loop, so that every driver takes the array apart.
var<private> held: array<Gates, 16>;

fn hold_weights(p: Place) {
    hold_bias(p);
    hold_four(p, 0u);
    hold_four(p, 1u);
    hold_four(p, 2u);
    hold_four(p, 3u);
}

fn held_product(p: Place) {
    start_rows(p, held_bias);
    add_four(p, 0u);
    add_four(p, 1u);
    add_four(p, 2u);
    add_four(p, 3u);
}
