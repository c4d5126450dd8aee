// Centered RMSprop: the gradient over the root of its variance. If rounding made that negative, it is zero.
@group(0) @binding(5) var<storage, read_write> moment: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> second_moment: array<vec4<f32>>;

fn direction(at: u32, s: Scalars, g: vec4<f32>) -> vec4<f32> {
    let v = moment[at] + s.square * (g * g - moment[at]);
    let m = second_moment[at] + s.mean * (g - second_moment[at]);
    moment[at] = v;
    second_moment[at] = m;
    return g / (sqrt(max(v - m * m, vec4(0.0)) + s.inside) + s.epsilon);
}
