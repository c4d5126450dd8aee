// A row of the source that all 2 gates multiply.

// Four elements of a row.
fn load_elements(at: u32) -> vec4<f32> {
    return load_source(at);
}

// Adds the product of four elements of a row with their weights.
fn add_product(sum: Gates, s: vec4<f32>, w0: Gates, w1: Gates, w2: Gates, w3: Gates) -> Gates {
    return Gates(
        add_dot(sum.g0, s, w0.g0, w1.g0, w2.g0, w3.g0),
        add_dot(sum.g1, s, w0.g1, w1.g1, w2.g1, w3.g1),
    );
}
