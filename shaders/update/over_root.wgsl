// RMSprop: the gradient over the root of its mean square.
@group(0) @binding(5) var<storage, read_write> moment: array<vec4<f32>>;

fn direction(at: u32, s: Scalars, g: vec4<f32>) -> vec4<f32> {
    let v = moment[at] + s.square * (g * g - moment[at]);
    moment[at] = v;
    return g / (sqrt(v + s.inside) + s.epsilon);
}
