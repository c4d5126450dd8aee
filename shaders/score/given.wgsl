// Scores that are given: the first element of each row of the key.
@group(0) @binding(3) var<storage, read> key: array<vec4<f32>>; // [..][B][units]

fn score(query_at: u32, key_at: u32) -> f32 {
    return key[key_at].x;
}
