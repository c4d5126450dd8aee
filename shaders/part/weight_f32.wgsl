// Weights in 32-bit floats, four units at a time: a matrix [D][P][K + 1 + E][G][16] or a table [D][V][width].
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;

fn load_weight(at: u32) -> vec4<f32> {
    return weights[at];
}
