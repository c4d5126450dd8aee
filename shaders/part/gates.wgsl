// The hoisted input product.
@group(0) @binding(2) var<storage, read> gates: array<vec4<f32>>; // [D][C][B][P][GATES][16]

// Loads x of row `b` of the batch for the place's four units, `time` steps into the gates.
fn load_gates_at(p: Place, time: u32, b: u32) -> array<vec4<f32>, GATES> {
    let at = (time * params.batch + b) * (params.units / 4u) * GATES + (params.panel + p.panel) * 4u * GATES + p.quad;
    var x: array<vec4<f32>, GATES>;
    for (var g = 0u; g < GATES; g++) {
        x[g] = gates[at + g * 4u];
    }
    return x;
}

// Loads x of the dispatch's single step.
fn load_gates_x(p: Place, b: u32) -> array<vec4<f32>, GATES> {
    return load_gates_at(p, of_direction(p.z, params.gates_0, params.gates_1), b);
}
