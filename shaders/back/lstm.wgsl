// LSTM: do = dh ∘ tanh(c) ∘ f', dc = carry + dh ∘ o ∘ tanh'(c), di = dc ∘ g ∘ f', df = dc ∘ c₋ ∘ f', dg = dc ∘ i ∘ g'; dc ∘ f is carried on.
@group(0) @binding(2) var<storage, read_write> gates: array<vec4<f32>>; // [D][C][B][P][4][16]
@group(0) @binding(5) var<storage, read> memory: array<vec4<f32>>; // [M][B][D · H]
@group(0) @binding(9) var<storage, read_write> carry: array<vec4<f32>>; // [D][B][H]

fn go_back(u: Unit, dh: vec4<f32>, lives: bool) {
    let at_input = gates_at(u, 4u);
    let at_forget = at_input + 4u;
    let at_cell = at_input + 8u;
    let at_output = at_input + 12u;
    let old = memory[state_at(u, params.memory_in)];
    let shown = curve_h(memory[state_at(u, params.memory_out)]);
    let i = curve_f(gates[at_input]);
    let f = curve_f(gates[at_forget]);
    let g = curve_g(gates[at_cell]);
    let o = curve_f(gates[at_output]);

    let carried = carry[u.handed];
    let dc = carried + dh * o.value * shown.slope;
    gates[at_input] = in_step(u, lives, dc * g.value * i.slope);
    gates[at_forget] = in_step(u, lives, dc * old * f.slope);
    gates[at_cell] = in_step(u, lives, dc * i.value * g.slope);
    gates[at_output] = in_step(u, lives, dh * shown.value * o.slope);
    carry[u.handed] = true_units(u, select(carried, dc * f.value, lives));
    store_shown(u, in_step(u, lives, o.value * shown.value));
    store_direct(u, select(dh, vec4(0.0), lives));
}
