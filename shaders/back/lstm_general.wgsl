// LSTM of any functions: as back/lstm.wgsl, where gates see the cell state by peepholes p (zero where there are none).
// do ∘ p_o goes into dc, di ∘ p_i + df ∘ p_f into what is carried on. Coupled, di = dc ∘ (g − c₋) ∘ f' and df = 0.
@group(0) @binding(2) var<storage, read_write> gates: array<vec4<f32>>; // [D][C][B][P][4][16]
@group(0) @binding(5) var<storage, read> memory: array<vec4<f32>>; // [M][B][D · H]
@group(0) @binding(9) var<storage, read_write> carry: array<vec4<f32>>; // [D][B][H]

const GATE_INPUT: u32 = 0u;
const GATE_FORGET: u32 = 1u;
const GATE_CELL: u32 = 2u;
const GATE_OUTPUT: u32 = 3u;

// Whether the forget gate is what the input gate leaves, and has no weights of its own.
override COUPLED: bool = false;

fn go_back(u: Unit, dh: vec4<f32>, lives: bool) {
    let at = gates_at(u, 4u);
    let old = memory[state_at(u, params.memory_in)];
    let after = memory[state_at(u, params.memory_out)];
    let p_input = load_peephole(u, GATE_INPUT);
    let p_forget = load_peephole(u, GATE_FORGET);
    let p_output = load_peephole(u, GATE_OUTPUT);
    let shown = curve_h(after);
    let i = curve_f(gates[at + 4u * GATE_INPUT] + p_input * old);
    let g = curve_g(gates[at + 4u * GATE_CELL]);
    let o = curve_f(gates[at + 4u * GATE_OUTPUT] + p_output * after);

    let carried = carry[u.handed];
    let d_output = dh * shown.value * o.slope;
    let dc = carried + dh * o.value * shown.slope + d_output * p_output;
    var d_input = dc * (g.value - old) * i.slope;
    var d_forget = vec4(0.0);
    var forget = 1.0 - i.value;
    if !COUPLED {
        let f = curve_f(gates[at + 4u * GATE_FORGET] + p_forget * old);
        d_input = dc * g.value * i.slope;
        d_forget = dc * old * f.slope;
        forget = f.value;
    }
    gates[at + 4u * GATE_INPUT] = in_step(u, lives, d_input);
    gates[at + 4u * GATE_FORGET] = in_step(u, lives, d_forget);
    gates[at + 4u * GATE_CELL] = in_step(u, lives, dc * i.value * g.slope);
    gates[at + 4u * GATE_OUTPUT] = in_step(u, lives, d_output);
    let past = dc * forget + d_input * p_input + d_forget * p_forget;
    carry[u.handed] = true_units(u, select(carried, past, lives));
    store_shown(u, in_step(u, lives, o.value * shown.value));
    store_direct(u, select(dh, vec4(0.0), lives));
}
