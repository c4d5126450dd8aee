// How the backward pass of a step is divided: an invocation has four units of one row and direction.
const WORKGROUP: u32 = 64u;

struct Unit {
    four: u32,      // which four of the direction's padded units
    b: u32,         // row of the batch
    z: u32,         // direction of this dispatch
    direction: u32, // direction in the features
    handed: u32,    // where the units are in what one step hands to another, in fours
}

fn unit_of(group: vec3<u32>, lane: u32) -> Unit {
    let four = group.x * WORKGROUP + lane;
    let direction = params.direction + group.z;
    return Unit(four, group.y, group.z, direction, (direction * params.batch + group.y) * params.units / 4u + four);
}

fn exists(u: Unit) -> bool {
    return u.four < params.units / 4u;
}

// Returns the place of the first of `count` gates. Each further gate is four fours later.
fn gates_at(u: Unit, count: u32) -> u32 {
    let row = of_direction(u.z, params.gates_0, params.gates_1) * params.batch + u.b;
    return (row * (params.units / 16u) + u.four / 4u) * 4u * count + u.four % 4u;
}

// Returns the place of the units in row `row` of a state.
fn state_at(u: Unit, row: u32) -> u32 {
    return ((row * params.batch + u.b) * params.directions + u.direction) * params.units / 4u + u.four;
}

// Whether the row has a step.
fn has_step(u: Unit) -> bool {
    return is_live(of_direction(u.z, params.live_0, params.live_1) * params.batch + u.b);
}

// Returns x, but 0 for padded units: gradients of padding must not become weights.
fn true_units(u: Unit, x: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), x, (4u * u.four + vec4(0u, 1u, 2u, 3u)) < vec4(params.features));
}

// Returns x, but 0 for padded units and for rows without a step.
fn in_step(u: Unit, lives: bool, x: vec4<f32>) -> vec4<f32> {
    return true_units(u, select(vec4(0.0), x, lives));
}
