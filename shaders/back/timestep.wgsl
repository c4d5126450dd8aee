// The backward pass of a timestep. Before and after are in the order
// of time: the backward pass takes the gradients after the step.
@group(0) @binding(6) var<storage, read> delta: array<vec4<f32>>; // [..][B][D · H]: the gradient of the outputs
@group(0) @binding(7) var<storage, read> kept: array<vec4<f32>>; // [..][B][P][KEPT][16]
// past: [2][B][D · H]: of the hidden state, of the cell state
@group(0) @binding(8) var<storage, read_write> past: array<vec4<f32>>;

// Its rows.
struct Timestep {
    gates: u32,
    delta: u32,
    live: u32,
    kept: u32,
    hidden: u32,     // of the hidden state before it
    cell_in: u32,  // of the cell state before it
    cell_out: u32, // and after it
}

// Returns the rows of the dispatch's timestep, or of its first one.
fn timestep(z: u32) -> Timestep {
    return Timestep(
        of_direction(z, params.gates_0, params.gates_1),
        of_direction(z, params.target_0, params.target_1),
        of_direction(z, params.live_0, params.live_1),
        of_direction(z, params.kept_0, params.kept_1),
        of_direction(z, params.before_0, params.before_1),
        params.cell_in,
        params.cell_out,
    );
}

struct Found {
    lives: bool,
    gradients: Gradients,
    past: array<vec4<f32>, 2>, // of the hidden state before the step, without its product, and of the cell state
}

// Returns the gradients of row `b` of the batch, for the place's units. `r`
// is the product of the next timestep's δ, and `after` is what bypasses it.
fn way_back(p: Place, t: Timestep, b: u32, r: vec4<f32>, after: array<vec4<f32>, 2>) -> Found {
    let above = delta[state_at(p, t.delta, b)];
    let dh = r + after[0] + above;
    let lives = is_live(t.live * params.batch + b);
    let at_kept = gates_at(p, t.kept, b, KEPT);
    var a: array<vec4<f32>, KEPT>;
    for (var g = 0u; g < KEPT; g++) {
        a[g] = kept[at_kept + g * 4u];
    }
    let found = gradients_of(a, load_before(p, t, b), dh, after[1]);
    return Found(
        lives,
        found,
        array<vec4<f32>, 2>(
            true_units(p, select(dh, found.past[0], lives)),
            true_units(p, select(after[1], found.past[1], lives)),
        ),
    );
}

fn load_past(p: Place, b: u32) -> array<vec4<f32>, 2> {
    return array<vec4<f32>, 2>(past[state_at(p, 0u, b)], past[state_at(p, 1u, b)]);
}

fn store_past(p: Place, b: u32, gone: array<vec4<f32>, 2>) {
    past[state_at(p, 0u, b)] = gone[0];
    if CARRIES {
        past[state_at(p, 1u, b)] = gone[1];
    }
}
