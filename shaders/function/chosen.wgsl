// The function of a linear or an activation layer. BETA is the second constant, whatever its name.
override ACTIVATION: u32 = FUNCTION_LINEAR;
override ALPHA: f32 = 0.0;
override BETA: f32 = 0.0;

fn activate_chosen(x: vec4<f32>) -> vec4<f32> {
    return function_by_code(ACTIVATION, ALPHA, BETA, x);
}
