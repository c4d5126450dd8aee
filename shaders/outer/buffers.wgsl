// The factors of the product, in buffers.
// source: [..][source_units], of which K are taken; per gate [..][source_units / 16][G][16]
@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>; // [..][P][G][16]

fn load_source(at: u32) -> vec4<f32> {
    return source[at];
}

fn load_delta(at: u32) -> vec4<f32> {
    return delta[at];
}
