// The factors of the product, in textures: see part/weight_texture.wgsl.
// source: [..][source_units], of which K are taken; per gate [..][source_units / 16][G][16]
@group(0) @binding(1) var source: texture_2d<f32>;
@group(0) @binding(2) var delta: texture_2d<f32>; // [..][P][G][16]

fn load_source(at: u32) -> vec4<f32> {
    return textureLoad(source, texel_of(at), 0);
}

fn load_delta(at: u32) -> vec4<f32> {
    return textureLoad(delta, texel_of(at), 0);
}
