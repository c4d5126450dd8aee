// Weights in 16-bit floats, four units at a time: a matrix [D][P][K + 1 + E][G][16] or a table
// [D][V][width]. Halves are widened by integer arithmetic. So no device needs the f16 feature, and drivers
// without a trustworthy unpack2x16float (wgpu withholds llvmpipe's) give the same numbers. Sums are in f32.
@group(0) @binding(1) var<storage, read> weights: array<vec2<u32>>;

// Returns the value of four halves. Subnormals count units of 2^-24, and the exponent of others is moved by 112.
fn widen(halves: vec4<u32>) -> vec4<f32> {
    let sign = (halves & vec4(0x8000u)) << vec4(16u);
    let magnitude = halves & vec4(0x7fffu);
    let not_finite = magnitude >= vec4(0x7c00u);
    let normal = (magnitude << vec4(13u)) + select(vec4(0x38000000u), vec4(0x70000000u), not_finite);
    let subnormal = bitcast<vec4<u32>>(vec4<f32>(magnitude) * 5.9604645e-8);
    return bitcast<vec4<f32>>(sign | select(normal, subnormal, magnitude < vec4(0x0400u)));
}

fn load_weight(at: u32) -> vec4<f32> {
    let pairs = weights[at];
    return widen(vec4(pairs.x & 0xffffu, pairs.x >> 16u, pairs.y & 0xffffu, pairs.y >> 16u));
}
