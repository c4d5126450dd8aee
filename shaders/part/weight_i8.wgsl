// Weights in 8-bit integers, four units in each word, with 32-bit floats beside
// them: a matrix with the panels of panel/integers.wgsl. The first unit has the
// lowest byte. Bytes are widened by shifts: not every browser has unpack4xI8.
@group(0) @binding(1) var<storage, read> weights: array<u32>;

fn load_weight(at: u32) -> vec4<f32> {
    let word = bitcast<i32>(weights[at]);
    return vec4<f32>((vec4(word) << vec4(24u, 16u, 8u, 0u)) >> vec4(24u));
}

fn load_floats(at: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]));
}
