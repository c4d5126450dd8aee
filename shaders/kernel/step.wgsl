// One timestep of one layer, in each direction of the dispatch: product, cell, states. See src/kernel/catalog.rs.
const CELL_UNPROJECTED: u32 = 2u;

fn finish(p: Place, i: u32, r: array<vec4<f32>, GATES>) {
    let b = batch_row(p, i);
    let hidden_width = params.directions * params.depth / 4u;
    let cell_width = params.directions * params.units / 4u;
    let unit = p.direction * params.units / 4u + unit_at(p);
    let s = load_states(
        (of_direction(p.z, params.source_0, params.source_1) * params.batch + b) * hidden_width + unit,
        (params.cell_in * params.batch + b) * cell_width + unit,
    );
    load_peepholes(p);
    let x = load_gates_x(p, b);
    var next = cell_update(x, r, s);
    if !is_live(of_direction(p.z, params.live_0, params.live_1) * params.batch + b) {
        next = s;
    }
    if is_own(p, i) {
        keep(p, of_direction(p.z, params.kept_0, params.kept_1), b, x, r);
        store_states(
            next,
            (of_direction(p.z, params.target_0, params.target_1) * params.batch + b) * hidden_width + unit,
            (params.cell_out * params.batch + b) * cell_width + unit,
            (CELL_UNPROJECTED * params.batch + b) * cell_width + unit,
        );
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    product(p, weight_start(p), p.slice, SLICES);
    finish_tile(p, lane);
}
