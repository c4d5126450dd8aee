// Many timesteps of one layer, in each direction of the dispatch: a workgroup has all units of a tile of rows, and keeps
// their states from step to step. See src/kernel/catalog.rs.

// The hidden state that the step reads. A row has PANELS panels.
var<workgroup> current: array<vec4<f32>, ROWS * 4u * PANELS>; // [row][H]

var<private> kept: array<array<vec4<f32>, STATES>, ROWS>; // of the invocation's units and the rows that it finishes

// The rows of the step: of `hidden`, of `gates`, of `live`.
var<private> row_hidden: u32;
var<private> row_gates: u32;
var<private> row_live: u32;

fn load_source(at: u32) -> vec4<f32> {
    return current[at];
}

fn row_source(p: Place, i: u32) -> u32 {
    return i * 4u * PANELS;
}

// Where the place's units are in a row of `hidden` or `memory`.
fn state_at(p: Place, row: u32, i: u32) -> u32 {
    return ((row * params.batch + batch_row(p, i)) * params.directions + p.direction) * params.units / 4u + unit_at(p);
}

fn finish(p: Place, i: u32, r: array<vec4<f32>, GATES>) {
    let b = batch_row(p, i);
    let s = kept[i];
    var next = cell_update(load_gates_at(p, row_gates, b), r, s);
    if !is_live(row_live * params.batch + b) {
        next = s;
    }
    kept[i] = next;
    current[i * 4u * PANELS + unit_at(p)] = next[0];
    if is_own(p, i) {
        hidden[state_at(p, row_hidden, i)] = next[0];
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn scan(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    let source = of_direction(p.z, params.source_0, params.source_1);
    for (var i = 0u; i < ROWS; i++) {
        kept[i] = load_states(state_at(p, source, i), state_at(p, params.memory_in, i));
        if p.slice == 0u {
            current[i * 4u * PANELS + unit_at(p)] = kept[i][0];
        }
    }
    hold_weights(p);
    load_peepholes(p);
    row_hidden = of_direction(p.z, params.target_0, params.target_1);
    row_gates = of_direction(p.z, params.gates_0, params.gates_1);
    row_live = of_direction(p.z, params.live_0, params.live_1);
    for (var step = 0u; step < params.steps; step++) {
        // Makes the hidden state of all units visible to the invocations that multiply it.
        workgroupBarrier();
        held_product(p);
        // Every invocation has read the hidden state: it may be written over.
        workgroupBarrier();
        finish_tile(p, lane);
        row_hidden += of_direction(p.z, params.hidden_step_0, params.hidden_step_1);
        row_gates += of_direction(p.z, params.time_step_0, params.time_step_1);
        row_live += of_direction(p.z, params.time_step_0, params.time_step_1);
    }
    let last = row_hidden - of_direction(p.z, params.hidden_step_0, params.hidden_step_1);
    for (var i = p.slice; i < ROWS; i += SLICES) {
        if is_own(p, i) {
            store_states(kept[i], state_at(p, last, i), state_at(p, params.memory_out, i), 0u);
        }
    }
}
