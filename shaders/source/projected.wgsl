// A step multiplies the projected hidden state, which it does not write.
@group(0) @binding(4) var<storage, read> hidden: array<vec4<f32>>; // [R][B][D · proj_size]

fn load_source(at: u32) -> vec4<f32> {
    return hidden[at];
}

fn row_source(p: Place, i: u32) -> u32 {
    let row = of_direction(p.z, params.source_0, params.source_1) * params.batch + batch_row(p, i);
    return (row * params.directions + p.direction) * params.depth / 4u;
}
