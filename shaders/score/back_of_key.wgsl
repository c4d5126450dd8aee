// The slope of additive scores at the sum of two rows, which begin at these fours. It is the same for query and key.
@group(0) @binding(3) var<storage, read> source: array<vec4<f32>>; // [..][B][units]
@group(0) @binding(4) var<storage, read> other: array<vec4<f32>>; // [..][B][units]

fn term(source_at: u32, other_at: u32) -> vec4<f32> {
    let r = hyperbolic_tangent(other[other_at] + source[source_at]);
    return 1.0 - r * r;
}
