// Weights moved along d with momentum.
@group(0) @binding(7) var<storage, read_write> third_moment: array<vec4<f32>>;

fn moved(at: u32, s: Scalars, w: vec4<f32>, d: vec4<f32>) -> vec4<f32> {
    let b = s.momentum * third_moment[at] + s.into * d;
    third_moment[at] = b;
    return w - s.decoupled * w - (s.direct * d + s.through * b);
}
