// A row of the source that is laid out like a row of 4 gates: each gate multiplies its own elements.

// Loads four elements of each gate. `at` counts the elements of one gate.
fn load_elements(at: u32) -> Gates {
    let first = at / 4u * 4u * PRODUCT_GATES + at % 4u;
    return Gates(load_source(first), load_source(first + 4u), load_source(first + 8u), load_source(first + 12u));
}

// Adds the product of four elements of a row of each gate with their weights.
fn add_product(sum: Gates, s: Gates, w0: Gates, w1: Gates, w2: Gates, w3: Gates) -> Gates {
    return Gates(
        add_dot(sum.g0, s.g0, w0.g0, w1.g0, w2.g0, w3.g0),
        add_dot(sum.g1, s.g1, w0.g1, w1.g1, w2.g1, w3.g1),
        add_dot(sum.g2, s.g2, w0.g2, w1.g2, w2.g2, w3.g2),
        add_dot(sum.g3, s.g3, w0.g3, w1.g3, w2.g3, w3.g3),
    );
}
