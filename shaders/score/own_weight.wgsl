// The weight of additive scores, four features at a time.
fn weight_of(c: u32) -> vec4<f32> {
    return load_weight(c);
}
