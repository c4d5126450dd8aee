// The hoisted input product.
@group(0) @binding(2) var<storage, read> gates: array<vec4<f32>>; // [D][C][B][P][GATES][16]

// x of row `b` of the batch at the place's four units, gate 0; the other gates are 4 apart.
fn gates_at(p: Place, b: u32) -> u32 {
    let time = of_direction(p.z, params.gates_0, params.gates_1);
    let row = (time * params.batch + b) * (params.units / 4u) * GATES;
    return row + (params.panel + p.panel) * 4u * GATES + p.quad;
}
