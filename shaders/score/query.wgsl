// The query that steps are compared with, four elements at a time.
@group(0) @binding(2) var<storage, read> source: array<vec4<f32>>; // [..][B][units]
@group(0) @binding(3) var<storage, read> key: array<vec4<f32>>; // [..][B][units]

// Returns the terms of the `c`-th four of a row, without those of padding, which may be any numbers.
fn of_features(c: u32, terms: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), terms, 4u * c + vec4(0u, 1u, 2u, 3u) < vec4(params.features));
}
