// AMSGrad: the mean gradient over the root of its largest mean square so far.
@group(0) @binding(5) var<storage, read_write> moment: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> second_moment: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> third_moment: array<vec4<f32>>;

fn direction(at: u32, s: Scalars, g: vec4<f32>) -> vec4<f32> {
    let m = moment[at] + s.mean * (g - moment[at]);
    let v = second_moment[at] + s.square * (g * g - second_moment[at]);
    let largest = max(third_moment[at], v);
    moment[at] = m;
    second_moment[at] = v;
    third_moment[at] = largest;
    return m / (sqrt(largest) * s.root + s.epsilon);
}
