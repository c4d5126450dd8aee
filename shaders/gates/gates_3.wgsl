// Sums of 3 gates of four units: named members, no array and no loop, so that every driver keeps them in registers.
const PRODUCT_GATES: u32 = 3u;

struct Gates {
    g0: vec4<f32>,
    g1: vec4<f32>,
    g2: vec4<f32>,
}

// Loads the weights of four units at depth k. `at` is the place of gate 0, in fours.
fn load_gates(at: u32) -> Gates {
    let next = gate_fours();
    return Gates(load_weight(at), load_weight(at + next), load_weight(at + 2u * next));
}

// Loads row `row` after those of the depth, of the panel at `first`.
fn load_row_after(first: u32, row: u32) -> Gates {
    return Gates(
        load_after(first, row, 0u),
        load_after(first, row, 1u),
        load_after(first, row, 2u),
    );
}

fn times(w: Gates, by: Gates) -> Gates {
    return Gates(w.g0 * by.g0, w.g1 * by.g1, w.g2 * by.g2);
}

fn as_array(sum: Gates) -> array<vec4<f32>, PRODUCT_GATES> {
    return array<vec4<f32>, PRODUCT_GATES>(sum.g0, sum.g1, sum.g2);
}
