// Second half of a timestep of a projected LSTM: h' = W_r · (o ∘ tanh(c')). See src/kernel/catalog.rs.
const CELL_UNPROJECTED: u32 = 2u;

@group(0) @binding(2) var<storage, read> cell_state: array<vec4<f32>>; // [3][B][D · H]: row 2 before the projection
@group(0) @binding(4) var<storage, read_write> hidden: array<vec4<f32>>; // [R][B][D · proj_size]

fn load_source(at: u32) -> vec4<f32> {
    return cell_state[at];
}

fn row_source(p: Place, i: u32) -> u32 {
    let row = CELL_UNPROJECTED * params.batch + batch_row(p, i);
    return (row * params.directions + p.direction) * params.depth / 4u;
}

fn finish(p: Place, i: u32, r: array<vec4<f32>, PRODUCT_GATES>) {
    let b = batch_row(p, i);
    let width = params.directions * params.units / 4u;
    let unit = p.direction * params.units / 4u + unit_at(p);
    let h = hidden[(of_direction(p.z, params.source_0, params.source_1) * params.batch + b) * width + unit];
    let alive = is_live(of_direction(p.z, params.live_0, params.live_1) * params.batch + b);
    if is_own(p, i) {
        let at = (of_direction(p.z, params.target_0, params.target_1) * params.batch + b) * width + unit;
        hidden[at] = select(h, r[0], alive);
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step_project(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    product(p, weight_start(p), p.slice, SLICES);
    finish_tile(p, lane);
}
