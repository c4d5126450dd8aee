// A layer's walk through many timesteps in one dispatch: the rows of each step, and the states that invocations keep.
// A kernel supplies `current`, the hidden state that the step reads, for all units of a tile of rows: [row][H].

var<private> states: array<array<vec4<f32>, STATES>, ROWS>; // of the invocation's units and its rows

// The rows of the step, in `hidden`, `gates` and `live`. If it keeps
// what its backward pass needs, also in `kept` and `cell_state`.
var<private> row_hidden: u32;
var<private> row_gates: u32;
var<private> row_live: u32;
var<private> row_kept: u32;
var<private> row_cell: u32;

fn load_source(at: u32) -> vec4<f32> {
    return current[at];
}

fn row_source(p: Place, i: u32) -> u32 {
    return i * (params.units / 4u);
}

// Returns where row `i` of the tile begins in row `row` of `hidden` or `cell_state`.
fn part_at(p: Place, row: u32, i: u32) -> u32 {
    return ((row * params.batch + batch_row(p, i)) * params.directions + p.direction) * params.units / 4u;
}

// Returns where the place's units are in that row.
fn state_at(p: Place, row: u32, i: u32) -> u32 {
    return part_at(p, row, i) + unit_at(p);
}

fn finish(p: Place, i: u32, r: array<vec4<f32>, GATES>) {
    let b = batch_row(p, i);
    let s = states[i];
    let x = load_gates_at(p, row_gates, b);
    var next = cell_update(x, r, s);
    if !is_live(row_live * params.batch + b) {
        next = s;
    }
    states[i] = next;
    current[row_source(p, i) + unit_at(p)] = next[0];
    if is_own(p, i) {
        if KEEPS {
            keep(p, row_kept, b, x, r);
            store_states(next, state_at(p, row_hidden, i), state_at(p, row_cell, i), 0u);
        } else {
            hidden[state_at(p, row_hidden, i)] = next[0];
        }
    }
}

// Loads the states before the first step, the weights that are kept, and the first step's rows.
fn begin_walk(p: Place) {
    let source = of_direction(p.z, params.source_0, params.source_1);
    for (var i = 0u; i < ROWS; i++) {
        states[i] = load_states(state_at(p, source, i), state_at(p, params.cell_in, i));
    }
    hold_weights(p);
    load_peepholes(p);
    row_hidden = of_direction(p.z, params.target_0, params.target_1);
    row_gates = of_direction(p.z, params.gates_0, params.gates_1);
    row_live = of_direction(p.z, params.live_0, params.live_1);
    row_kept = of_direction(p.z, params.kept_0, params.kept_1);
    row_cell = params.cell_out;
}

fn next_step(p: Place) {
    row_hidden += of_direction(p.z, params.hidden_step_0, params.hidden_step_1);
    row_gates += of_direction(p.z, params.time_step_0, params.time_step_1);
    row_live += of_direction(p.z, params.time_step_0, params.time_step_1);
    row_kept += of_direction(p.z, params.time_step_0, params.time_step_1);
    row_cell += 1u;
}

// Writes the states of the last step, whose rows are before those of
// the walk now. A program that keeps has written those of every step.
fn end_walk(p: Place) {
    let last = row_hidden - of_direction(p.z, params.hidden_step_0, params.hidden_step_1);
    for (var i = p.slice; i < ROWS; i += SLICES) {
        if !KEEPS && is_own(p, i) {
            store_states(states[i], state_at(p, last, i), state_at(p, params.cell_out, i), 0u);
        }
    }
}
