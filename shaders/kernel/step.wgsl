// One timestep of one layer, in each direction of the dispatch: product, cell, states. See src/kernel/catalog.rs.
const PRODUCT_GATES: u32 = GATES;
const MEMORY_UNPROJECTED: u32 = 2u;

fn load_source(at: u32) -> vec4<f32> {
    return hidden[at];
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    let hidden_width = params.directions * params.depth / 4u;
    let memory_width = params.directions * params.units / 4u;
    let source = of_direction(p.z, params.source_0, params.source_1);
    for (var i = 0u; i < ROWS; i++) {
        source_at[i] = (source * params.batch + batch_row(p, i)) * hidden_width + p.direction * params.depth / 4u;
    }
    product(weight_start(p), 4u * PRODUCT_GATES, params.depth, p.slice, SLICES);
    reduce(lane);

    let unit = p.direction * params.units / 4u + unit_at(p);
    for (var i = p.slice; i < ROWS; i += SLICES) {
        let b = batch_row(p, i);
        let x_at = gates_at(p, b);
        var x: array<vec4<f32>, GATES>;
        var r: array<vec4<f32>, GATES>;
        for (var g = 0u; g < GATES; g++) {
            x[g] = gates[x_at + g * 4u];
            r[g] = total(lane, i, g);
        }
        let s = load_states(
            (source * params.batch + b) * hidden_width + unit,
            (params.memory_in * params.batch + b) * memory_width + unit,
        );
        var next = cell_update(x, r, s);
        if !is_live(of_direction(p.z, params.live_0, params.live_1) * params.batch + b) {
            next = s;
        }
        if p.inside && p.row + i < params.batch {
            store_states(
                next,
                (of_direction(p.z, params.target_0, params.target_1) * params.batch + b) * hidden_width + unit,
                (params.memory_out * params.batch + b) * memory_width + unit,
                (MEMORY_UNPROJECTED * params.batch + b) * memory_width + unit,
            );
        }
    }
}
