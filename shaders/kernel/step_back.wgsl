// One timestep of one layer back, in each direction of the dispatch: product, cell, gradients. See
// src/kernel/catalog/training.rs.
@group(0) @binding(6) var<storage, read> delta: array<vec4<f32>>; // [..][B][D · H]: the gradient of the outputs
@group(0) @binding(7) var<storage, read> kept: array<vec4<f32>>; // [..][B][P][KEPT][16]
@group(0) @binding(8) var<storage, read_write> past: array<vec4<f32>>; // [2][B][D · H]: of the hidden state, of the cell state

// A row of δ as the step after has left it.
fn row_source(p: Place, i: u32) -> u32 {
    let row = of_direction(p.z, params.source_0, params.source_1) * params.batch + batch_row(p, i);
    return row * params.depth / 4u;
}

fn finish(p: Place, i: u32, r: array<vec4<f32>, PRODUCT_GATES>) {
    for (var w = 0u; w < WIDE; w++) {
        var own = p;
        own.panel += w;
        finish_panel(own, i, r[w]);
    }
}

// Of one of the panels, of which `r` is the product.
fn finish_panel(p: Place, i: u32, r: vec4<f32>) {
    let b = batch_row(p, i);
    let at_hidden = state_at(p, 0u, b);
    let at_cell = state_at(p, 1u, b);
    let above = delta[state_at(p, of_direction(p.z, params.target_0, params.target_1), b)];
    let dh = r + past[at_hidden] + above;
    let carried = past[at_cell];
    let lives = is_live(of_direction(p.z, params.live_0, params.live_1) * params.batch + b);
    let at_kept = gates_at(p, of_direction(p.z, params.time_step_0, params.time_step_1), b, KEPT);
    var a: array<vec4<f32>, KEPT>;
    for (var g = 0u; g < KEPT; g++) {
        a[g] = kept[at_kept + g * 4u];
    }
    load_peepholes_of(params.weight_panel + p.z * params.weight_panels + p.panel, p.quad, params.units);
    let found = gradients_of(a, load_before(p, b), dh, carried);
    if is_own(p, i) {
        let row = of_direction(p.z, params.gates_0, params.gates_1);
        store_deltas(p, gates_at(p, row, b, DELTAS), lives, found);
        past[at_hidden] = true_units(p, select(dh, found.past[0], lives));
        if CARRIES {
            past[at_cell] = true_units(p, select(carried, found.past[1], lives));
        }
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    product(p, weight_start(p), p.slice, SLICES);
    finish_tile(p, lane);
}
