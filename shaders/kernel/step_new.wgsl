// Second half of a timestep of GRU with the reset before the product. See src/kernel/catalog.rs.

@group(0) @binding(4) var<storage, read> scratch: array<vec4<f32>>; // [2][B][D · H]: r ∘ h, z
@group(0) @binding(5) var<storage, read_write> hidden: array<vec4<f32>>; // [R][B][D · H]

fn finish(p: Place, i: u32, r: array<vec4<f32>, PRODUCT_GATES>) {
    let b = batch_row(p, i);
    let width = params.directions * params.units / 4u;
    let unit = p.direction * params.units / 4u + unit_at(p);
    let n = function_g(load_gates_x(p, b)[GATE_NEW] + r[0]);
    let z = scratch[(SCRATCH_UPDATE * params.batch + b) * width + unit];
    let h = hidden[(of_direction(p.z, params.source_0, params.source_1) * params.batch + b) * width + unit];
    let alive = is_live(of_direction(p.z, params.live_0, params.live_1) * params.batch + b);
    if is_own(p, i) {
        let at = (of_direction(p.z, params.target_0, params.target_1) * params.batch + b) * width + unit;
        hidden[at] = select(h, (1.0 - z) * n + z * h, alive);
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step_new(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    product(p, weight_start(p), p.slice, SLICES);
    finish_tile(p, lane);
}
