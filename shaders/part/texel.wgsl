// Where a texture has the numbers of a buffer: four in each texel, row after row.
const TEXTURE_WIDTH: u32 = 1024u;

fn texel_of(at: u32) -> vec2<u32> {
    return vec2(at % TEXTURE_WIDTH, at / TEXTURE_WIDTH);
}
