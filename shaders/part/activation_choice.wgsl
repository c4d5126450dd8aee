// An activation chosen when the pipeline is made; the codes are Activation::code in src/kernel/catalog.rs.
override ACTIVATION: u32 = 0u;

fn activate_chosen(x: vec4<f32>) -> vec4<f32> {
    switch ACTIVATION {
        case 1u: { return sigmoid(x); }
        case 2u: { return hyperbolic_tangent(x); }
        case 3u: { return relu(x); }
        default: { return x; }
    }
}
