// What the weight of additive scores multiplies, for two rows, which begin at these fours.
@group(0) @binding(3) var<storage, read> source: array<vec4<f32>>; // [..][B][units]
@group(0) @binding(4) var<storage, read> other: array<vec4<f32>>; // [..][B][units]

fn term(source_at: u32, other_at: u32) -> vec4<f32> {
    return hyperbolic_tangent(other[other_at] + source[source_at]);
}
