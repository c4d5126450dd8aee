// A step keeps what goes into its gates.
@group(0) @binding(6) var<storage, read_write> kept: array<vec4<f32>>; // [..][B][P][GATES][16]

fn keep(p: Place, b: u32, x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>) {
    let row = of_direction(p.z, params.time_step_0, params.time_step_1) * params.batch + b;
    let at = (row * (params.units / 16u) + params.panel + p.panel) * 4u * GATES + p.quad;
    for (var g = 0u; g < GATES; g++) {
        kept[at + g * 4u] = x[g] + r[g];
    }
}
