// Weights moved along d with momentum.
@group(0) @binding(6) var<storage, read_write> second_moment: array<vec4<f32>>;

fn moved(at: u32, s: Scalars, w: vec4<f32>, d: vec4<f32>) -> vec4<f32> {
    let b = s.momentum * second_moment[at] + s.into * d;
    second_moment[at] = b;
    return w - s.decoupled * w - (s.direct * d + s.through * b);
}
