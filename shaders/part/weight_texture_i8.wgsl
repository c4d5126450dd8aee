// A matrix in a texture, with the panels of panel/integers.wgsl. Weights are 8-bit integers, four units in each texel.
// The 32-bit floats beside them have one texel each.
@group(0) @binding(1) var weights: texture_2d<i32>;

fn load_texel(at: u32) -> vec4<i32> {
    return textureLoad(weights, texel_of(at), 0);
}

fn load_weight(at: u32) -> vec4<f32> {
    return vec4<f32>(load_texel(at));
}

fn load_float(at: u32) -> f32 {
    let bytes = (bitcast<vec4<u32>>(load_texel(at)) & vec4(0xffu)) << vec4(0u, 8u, 16u, 24u);
    return bitcast<f32>(bytes.x | bytes.y | bytes.z | bytes.w);
}

fn load_floats(at: u32) -> vec4<f32> {
    return vec4(load_float(at), load_float(at + 1u), load_float(at + 2u), load_float(at + 3u));
}
