// Clips the inputs of the gates' functions to -CLIP ..= CLIP. 0 means no clip.
override CLIP: f32 = 0.0;

fn bounded(x: vec4<f32>) -> vec4<f32> {
    var y = x;
    if CLIP > 0.0 {
        y = keep_nan(x, min(max(x, vec4(-CLIP)), vec4(CLIP)));
    }
    return y;
}
