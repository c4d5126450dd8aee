// A clipped input has the derivative 0.
fn unclipped(x: vec4<f32>, slope: vec4<f32>) -> vec4<f32> {
    var y = slope;
    if CLIP > 0.0 {
        y = select(slope, vec4(0.0), abs(x) > vec4(CLIP));
    }
    return y;
}
