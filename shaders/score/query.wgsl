// The query that steps are compared with, four elements at a time.
@group(0) @binding(2) var<storage, read> source: array<vec4<f32>>; // [..][B][units]
@group(0) @binding(3) var<storage, read> key: array<vec4<f32>>; // [..][B][units]

// Returns the sum of terms over a row of the query and one of the key, which begin at these fours. The terms of padding
// may be any numbers.
fn score(query_at: u32, key_at: u32) -> f32 {
    var sum = vec4(0.0);
    for (var c = 0u; c < params.units / 4u; c++) {
        let is_feature = 4u * c + vec4(0u, 1u, 2u, 3u) < vec4(params.features);
        sum += select(vec4(0.0), term_of(c, query_at, key_at), is_feature);
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}
