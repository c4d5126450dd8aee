// One timestep of each layer of the dispatch, each one step behind the layer that feeds
// it: both products, cell, states. z counts the layers. See src/kernel/catalog.rs.

@group(0) @binding(6) var<storage, read_write> output: array<vec4<f32>>; // [..][B][H]: of the last layer

// Returns the row of `hidden` and `cell_state` of a layer, from the row that layer 0 has.
fn state_row(layer: u32, row: u32) -> u32 {
    return 2u * layer + (row + layer) % 2u;
}

// Whether the place's slice is one of the input product's, whose source is the layer below.
fn takes_input(p: Place) -> bool {
    return p.slice < SLICES / 2u;
}

fn load_source(at: u32) -> vec4<f32> {
    return hidden[at];
}

fn row_source(p: Place, i: u32) -> u32 {
    let layer = p.direction - select(0u, 1u, takes_input(p) && p.direction > 0u);
    return (state_row(layer, params.cell_in) * params.batch + batch_row(p, i)) * params.depth / 4u;
}

fn finish(p: Place, i: u32, r: array<vec4<f32>, GATES>) {
    let b = batch_row(p, i);
    let width = params.units / 4u;
    let read = (state_row(p.direction, params.cell_in) * params.batch + b) * width + unit_at(p);
    let written = (state_row(p.direction, params.cell_out) * params.batch + b) * width + unit_at(p);
    var x = input_product;
    if p.direction == 0u {
        x = load_gates_x(p, b);
    }
    let s = load_states(read, read);
    var next = cell_update(x, r, s);
    if !is_live((params.live_0 - p.z) * params.batch + b) {
        next = s;
    }
    if is_own(p, i) {
        store_states(next, written, written, 0u);
        if p.direction + 1u == params.directions {
            output[(params.target_0 * params.batch + b) * width + unit_at(p)] = next[0];
        }
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn wavefront(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    let panels = params.weight_panels / 2u;
    let before = select(0u, panels * panel_fours(ROWS_AFTER_DEPTH), takes_input(p));
    // The input product of layer 0 is hoisted.
    if p.direction > 0u || !takes_input(p) {
        product(p, weight_start(p) - before, p.slice % (SLICES / 2u), SLICES / 2u);
    }
    finish_tile(p, lane);
}
