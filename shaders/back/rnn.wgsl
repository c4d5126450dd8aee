// Simple (Elman) RNN: da = dh ∘ f'(a).
@group(0) @binding(2) var<storage, read_write> gates: array<vec4<f32>>; // [D][C][B][P][1][16]

fn go_back(u: Unit, dh: vec4<f32>, lives: bool) {
    let at = gates_at(u, 1u);
    gates[at] = in_step(u, lives, dh * curve_f(gates[at]).slope);
    store_direct(u, select(dh, vec4(0.0), lives));
}
