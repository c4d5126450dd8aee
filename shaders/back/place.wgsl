// Where the four units of a place are, in the backward pass of a step.

// Returns their place in row `row` of a state, of row `b` of the batch.
fn state_at(p: Place, row: u32, b: u32) -> u32 {
    return ((row * params.batch + b) * params.directions + p.direction) * params.units / 4u + unit_at(p);
}

// Returns their place in timestep `row` of `count` gates. Each further gate is four fours later.
fn gates_at(p: Place, row: u32, b: u32, count: u32) -> u32 {
    return ((row * params.batch + b) * (params.units / 16u) + params.panel + p.panel) * 4u * count + p.quad;
}

// Returns x, but 0 for padded units: gradients of padding must not become weights.
fn true_units(p: Place, x: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), x, (4u * unit_at(p) + vec4(0u, 1u, 2u, 3u)) < vec4(params.features));
}

// Returns x, but 0 for padded units and for rows without a step.
fn in_step(p: Place, lives: bool, x: vec4<f32>) -> vec4<f32> {
    return true_units(p, select(vec4(0.0), x, lives));
}
