// A step multiplies copies of the state, one for each gate, with elements dropped.
@group(0) @binding(7) var<storage, read> source: array<vec4<f32>>; // [D][B][K / 16][G][16]

fn load_source(at: u32) -> vec4<f32> {
    return source[at];
}

// The row counts elements of one gate.
fn row_source(p: Place, i: u32) -> u32 {
    return (p.direction * params.batch + batch_row(p, i)) * params.depth / 4u;
}
