// Weights in 16-bit floats, four units at a time: a matrix [D][P][K + 1][G][16] or a table [D][V][width].
// Unpacked in the shader, so that no device needs the f16 feature; sums are in f32.
@group(0) @binding(1) var<storage, read> weights: array<vec2<u32>>;

fn load_weight(at: u32) -> vec4<f32> {
    let packed = weights[at];
    return vec4(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
