// Weights in a texture, four units in each texel: a matrix [D][P][K + 1 + E][G][16] of 32-bit or 16-bit
// floats. A software GPU reads a texel at once, but reads a buffer's four numbers one by one and checks each.
@group(0) @binding(1) var weights: texture_2d<f32>;

fn load_weight(at: u32) -> vec4<f32> {
    return textureLoad(weights, texel_of(at), 0);
}
