// δ of a GRU: of the input product, and of the recurrent one,
// which the backward pass of the timestep before multiplies.
@group(0) @binding(2) var<storage, read_write> gates: array<vec4<f32>>; // [..][B][P][3][16]
@group(0) @binding(4) var<storage, read_write> recurrent: array<vec4<f32>>; // [..][B][P][3][16]

fn load_deltas(at: u32) -> vec4<f32> {
    return recurrent[at];
}

fn multiplied(p: Place, lives: bool, found: Gradients) -> array<vec4<f32>, DELTAS> {
    return array<vec4<f32>, DELTAS>(
        in_step(p, lives, found.delta[0]),
        in_step(p, lives, found.delta[1]),
        in_step(p, lives, found.recurrent),
    );
}

fn store_deltas(p: Place, at: u32, lives: bool, found: Gradients) {
    let deltas = multiplied(p, lives, found);
    for (var g = 0u; g < DELTAS; g++) {
        gates[at + g * 4u] = in_step(p, lives, found.delta[g]);
        recurrent[at + g * 4u] = deltas[g];
    }
}
