// The terms of additive scores: w · tanh(q + k).
fn term_of(c: u32, query_at: u32, key_at: u32) -> vec4<f32> {
    return load_weight(c) * hyperbolic_tangent(source[query_at + c] + key[key_at + c]);
}
