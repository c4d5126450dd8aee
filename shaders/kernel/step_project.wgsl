// Second half of a timestep of a projected LSTM: h' = W_r · (o ∘ tanh(c')). See src/kernel/catalog.rs.
const PRODUCT_GATES: u32 = 1u;
const MEMORY_UNPROJECTED: u32 = 2u;

@group(0) @binding(2) var<storage, read> memory: array<vec4<f32>>; // [3][B][D · H]: row 2 before the projection
@group(0) @binding(4) var<storage, read_write> hidden: array<vec4<f32>>; // [R][B][D · proj_size]

fn load_source(at: u32) -> vec4<f32> {
    return memory[at];
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step_project(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    let hidden_width = params.directions * params.units / 4u;
    let memory_width = params.directions * params.depth / 4u;
    for (var i = 0u; i < ROWS; i++) {
        source_at[i] = (MEMORY_UNPROJECTED * params.batch + batch_row(p, i)) * memory_width
            + p.direction * params.depth / 4u;
    }
    product(weight_start(p), 4u * PRODUCT_GATES, params.depth, p.slice, SLICES);
    reduce(lane);

    let unit = p.direction * params.units / 4u + unit_at(p);
    for (var i = p.slice; i < ROWS; i += SLICES) {
        let b = batch_row(p, i);
        let projected = total(lane, i, 0u);
        let h = hidden[(of_direction(p.z, params.source_0, params.source_1) * params.batch + b) * hidden_width + unit];
        let alive = is_live(of_direction(p.z, params.live_0, params.live_1) * params.batch + b);
        if p.inside && p.row + i < params.batch {
            let at = (of_direction(p.z, params.target_0, params.target_1) * params.batch + b) * hidden_width + unit;
            hidden[at] = select(h, projected, alive);
        }
    }
}
