// The backward pass of one timestep of one layer, in each direction of the
// dispatch: product, cell, gradients. See src/kernel/catalog/training.rs.

fn load_source(at: u32) -> vec4<f32> {
    return load_deltas(at);
}

// Returns a row of δ, which the next timestep left.
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

// Finishes one of the panels, whose product is `r`.
fn finish_panel(p: Place, i: u32, r: vec4<f32>) {
    let b = batch_row(p, i);
    let t = timestep(p.z);
    load_peepholes_of(params.weight_panel + p.z * params.weight_panels + p.panel, p.quad, params.units);
    let found = way_back(p, t, b, r, load_past(p, b));
    if is_own(p, i) {
        store_deltas(p, gates_at(p, t.gates, b, DELTAS), found.lives, found.gradients);
        store_past(p, b, found.past);
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    product(p, weight_start(p), p.slice, SLICES);
    finish_tile(p, lane);
}
