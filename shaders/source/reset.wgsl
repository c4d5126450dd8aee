// The second half of a GRU's step multiplies r ∘ h.
fn load_source(at: u32) -> vec4<f32> {
    return scratch[at];
}

fn row_source(p: Place, i: u32) -> u32 {
    let row = SCRATCH_RESET * params.batch + batch_row(p, i);
    return (row * params.directions + p.direction) * params.depth / 4u;
}
