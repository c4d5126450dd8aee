// Params: what a dispatch is told at run time. Its twin, src/kernel/params.rs, explains each member.
struct Params {
    rows: u32,
    batch: u32,
    directions: u32,
    direction: u32,
    depth: u32,
    units: u32,
    panel: u32,
    panels: u32,
    weight_panel: u32,
    weight_panels: u32,
    source_0: u32,
    source_1: u32,
    target_0: u32,
    target_1: u32,
    gates_0: u32,
    gates_1: u32,
    live_0: u32,
    live_1: u32,
    kept_0: u32,
    kept_1: u32,
    before_0: u32,
    before_1: u32,
    cell_in: u32,
    cell_out: u32,
    token: u32,
    tokens: u32,
    features: u32,
    steps: u32,
    hidden_step_0: u32,
    hidden_step_1: u32,
    time_step_0: u32,
    time_step_1: u32,
    source_units: u32,
    source_features: u32,
    source_directions: u32,
    source_offset: u32,
    offset: u32,
    count: u32,
    scale: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

// Which of four units of a panel there are. The weights of the others are 0, and their product with an infinity is NaN.
fn are_units(panel: u32, quad: u32) -> vec4<bool> {
    let units = vec4(panel * 16u + quad * 4u) + vec4(0u, 1u, 2u, 3u);
    return vec4(params.count == 0u) | (units < vec4(params.count));
}

// Returns the member of a pair that belongs to direction z of the dispatch.
fn of_direction(z: u32, first: u32, second: u32) -> u32 {
    return select(second, first, z == 0u);
}
