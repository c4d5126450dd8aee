// The gradient of the state after the step. A part of it bypasses the product.
@group(0) @binding(6) var<storage, read> delta: array<vec4<f32>>; // [..][B][D · units]
@group(0) @binding(7) var<storage, read> product: array<vec4<f32>>; // [D][B][units]
@group(0) @binding(8) var<storage, read_write> direct: array<vec4<f32>>; // [D][B][units]

fn load_dh(u: Unit) -> vec4<f32> {
    let above = delta[state_at(u, of_direction(u.z, params.target_0, params.target_1))];
    return product[u.handed] + direct[u.handed] + above;
}

fn store_direct(u: Unit, past: vec4<f32>) {
    direct[u.handed] = true_units(u, past);
}
