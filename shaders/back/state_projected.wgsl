// The gradient of the state before its projection, and that state.
@group(0) @binding(6) var<storage, read_write> result: array<vec4<f32>>; // [D][C][B][units]
@group(0) @binding(7) var<storage, read> product: array<vec4<f32>>; // [D][B][units]

fn load_dh(u: Unit) -> vec4<f32> {
    return product[u.handed];
}

fn store_direct(u: Unit, past: vec4<f32>) {
}

fn store_shown(u: Unit, shown: vec4<f32>) {
    result[gates_at(u, 1u)] = shown;
}
