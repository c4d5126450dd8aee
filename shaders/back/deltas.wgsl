// δ, which the backward pass of the timestep before multiplies as it is.
@group(0) @binding(2) var<storage, read_write> gates: array<vec4<f32>>; // [..][B][P][DELTAS][16]

fn load_deltas(at: u32) -> vec4<f32> {
    return gates[at];
}

// What the backward pass of the timestep before multiplies.
fn multiplied(p: Place, lives: bool, found: Gradients) -> array<vec4<f32>, DELTAS> {
    var deltas = found.delta;
    for (var g = 0u; g < DELTAS; g++) {
        deltas[g] = in_step(p, lives, deltas[g]);
    }
    return deltas;
}

fn store_deltas(p: Place, at: u32, lives: bool, found: Gradients) {
    let deltas = multiplied(p, lives, found);
    for (var g = 0u; g < DELTAS; g++) {
        gates[at + g * 4u] = deltas[g];
    }
}
