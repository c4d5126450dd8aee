// The backward pass of many timesteps of one layer, the last one first, in each direction of the dispatch. A workgroup
// has all units of a tile of rows, and keeps what passes from step to step. See src/kernel/catalog/training.rs.

// δ that the step multiplies: that of the next timestep. A row has PANELS panels.
var<workgroup> current: array<vec4<f32>, ROWS * DELTAS * 4u * PANELS>; // [row][P][DELTAS][16]

// What bypasses the products, for the units of the invocation and the rows that it finishes.
var<private> gone: array<array<vec4<f32>, 2>, ROWS>;
var<private> now: Timestep;

fn load_source(at: u32) -> vec4<f32> {
    return current[at];
}

fn row_source(p: Place, i: u32) -> u32 {
    return i * (params.depth / 4u);
}

fn finish(p: Place, i: u32, r: array<vec4<f32>, PRODUCT_GATES>) {
    let b = batch_row(p, i);
    let found = way_back(p, now, b, r[0], gone[i]);
    gone[i] = found.past;
    let deltas = multiplied(p, found.lives, found.gradients);
    let at = row_source(p, i) + (params.panel + p.panel) * 4u * DELTAS + p.quad;
    for (var g = 0u; g < DELTAS; g++) {
        current[at + g * 4u] = deltas[g];
    }
    if is_own(p, i) {
        store_deltas(p, gates_at(p, now.gates, b, DELTAS), found.lives, found.gradients);
    }
}

// Loads the invocation's part of δ of the timestep after the first step.
fn load_current(p: Place, lane: u32) {
    let width = params.depth / 4u;
    let source = of_direction(p.z, params.source_0, params.source_1) * params.batch;
    for (var at = lane; at < ROWS * width; at += 4u * PANELS * SLICES) {
        current[at] = load_deltas((source + batch_row(p, at / width)) * width + at % width);
    }
}

// Moves to the timestep before.
fn next_step(p: Place) {
    let time = of_direction(p.z, params.time_step_0, params.time_step_1);
    now.gates += time;
    now.delta += time;
    now.live += time;
    now.kept += time;
    now.hidden += of_direction(p.z, params.hidden_step_0, params.hidden_step_1);
    now.cell_in -= 1u;
    now.cell_out -= 1u;
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn scan_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    hold_weights(p);
    load_peepholes_of(params.weight_panel + p.z * params.weight_panels + p.panel, p.quad, params.units);
    load_current(p, lane);
    now = timestep(p.z);
    for (var i = 0u; i < ROWS; i++) {
        gone[i] = load_past(p, batch_row(p, i));
    }
    take_steps(p, lane);
    for (var i = p.slice; i < ROWS; i += SLICES) {
        if is_own(p, i) {
            store_past(p, batch_row(p, i), gone[i]);
        }
    }
}
