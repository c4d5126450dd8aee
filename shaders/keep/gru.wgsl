// A step of a GRU keeps the inputs of reset and update, and both parts of the new gate, `time` steps into `kept`.
const KEEPS: bool = true;
@group(0) @binding(6) var<storage, read_write> kept: array<vec4<f32>>; // [..][B][P][4][16]

fn keep(p: Place, time: u32, b: u32, x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>) {
    let row = time * params.batch + b;
    let at = (row * (params.units / 16u) + params.panel + p.panel) * 16u + p.quad;
    kept[at] = x[GATE_RESET] + r[GATE_RESET];
    kept[at + 4u] = x[GATE_UPDATE] + r[GATE_UPDATE];
    kept[at + 8u] = x[GATE_NEW];
    kept[at + 12u] = r[GATE_NEW];
}
