// A step keeps the inputs of its gates, `time` steps into `kept`.
const KEEPS: bool = true;
@group(0) @binding(6) var<storage, read_write> kept: array<vec4<f32>>; // [..][B][P][GATES][16]

fn keep(p: Place, time: u32, b: u32, x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>) {
    let row = time * params.batch + b;
    let at = (row * (params.units / 16u) + params.panel + p.panel) * 4u * GATES + p.quad;
    for (var g = 0u; g < GATES; g++) {
        kept[at + g * 4u] = x[g] + r[g];
    }
}
