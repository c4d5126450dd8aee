// The gradient of the state after the step: nothing of it goes past the product.
@group(0) @binding(6) var<storage, read> delta: array<vec4<f32>>; // [..][B][D · units]
@group(0) @binding(7) var<storage, read> product: array<vec4<f32>>; // [D][B][units]

fn load_dh(u: Unit) -> vec4<f32> {
    return product[u.handed] + delta[state_at(u, of_direction(u.z, params.target_0, params.target_1))];
}

fn store_direct(u: Unit, past: vec4<f32>) {
}

fn store_shown(u: Unit, shown: vec4<f32>) {
}
