// Where the four units of a place are on the way back through a step.

// In row `row` of a state, of row `b` of the batch.
fn state_at(p: Place, row: u32, b: u32) -> u32 {
    return ((row * params.batch + b) * params.directions + p.direction) * params.units / 4u + unit_at(p);
}

// In timestep `row` of `count` gates; the others follow four fours apart.
fn gates_at(p: Place, row: u32, b: u32, count: u32) -> u32 {
    return ((row * params.batch + b) * (params.units / 16u) + params.panel + p.panel) * 4u * count + p.quad;
}

// x, but 0 where a unit is padding: whatever stands there becomes no weight.
fn true_units(p: Place, x: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), x, (4u * unit_at(p) + vec4(0u, 1u, 2u, 3u)) < vec4(params.features));
}

// Likewise, and 0 where the row has no step.
fn in_step(p: Place, lives: bool, x: vec4<f32>) -> vec4<f32> {
    return true_units(p, select(vec4(0.0), x, lives));
}
