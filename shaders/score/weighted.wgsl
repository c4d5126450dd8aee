// The sum of w * tanh(q + k) over a row of the query and one of the key, which begin at these fours.
fn score(query_at: u32, key_at: u32) -> f32 {
    var sum = vec4(0.0);
    for (var c = 0u; c < params.units / 4u; c++) {
        sum += of_features(c, load_weight(c) * hyperbolic_tangent(source[query_at + c] + key[key_at + c]));
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}
