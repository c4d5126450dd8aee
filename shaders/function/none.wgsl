// No function: a product is stored as it is.
fn activate_chosen(x: vec4<f32>) -> vec4<f32> {
    return x;
}
