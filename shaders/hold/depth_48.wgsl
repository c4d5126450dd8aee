// A scan keeps its weights in registers: each invocation has 48 rows of the depth.
// There are constant indices and no loop, so that every driver takes the array apart.
var<private> held: array<Gates, 48>;

fn hold_weights(p: Place) {
    hold_bias(p);
    hold_four(p, 0u);
    hold_four(p, 1u);
    hold_four(p, 2u);
    hold_four(p, 3u);
    hold_four(p, 4u);
    hold_four(p, 5u);
    hold_four(p, 6u);
    hold_four(p, 7u);
    hold_four(p, 8u);
    hold_four(p, 9u);
    hold_four(p, 10u);
    hold_four(p, 11u);
}

fn held_product(p: Place) {
    start_rows(p, held_bias);
    add_four(p, 0u);
    add_four(p, 1u);
    add_four(p, 2u);
    add_four(p, 3u);
    add_four(p, 4u);
    add_four(p, 5u);
    add_four(p, 6u);
    add_four(p, 7u);
    add_four(p, 8u);
    add_four(p, 9u);
    add_four(p, 10u);
    add_four(p, 11u);
}
