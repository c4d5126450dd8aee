// The terms of a product: q · k.
fn term_of(c: u32, query_at: u32, key_at: u32) -> vec4<f32> {
    return source[query_at + c] * key[key_at + c];
}
