// First half of a timestep of GRU with the reset before the product. See src/kernel/catalog.rs.

@group(0) @binding(3) var<storage, read> hidden: array<vec4<f32>>; // [R][B][D · H]
@group(0) @binding(4) var<storage, read_write> scratch: array<vec4<f32>>; // [2][B][D · H]: r ∘ h, z

fn finish(p: Place, i: u32, r: array<vec4<f32>, PRODUCT_GATES>) {
    let b = batch_row(p, i);
    let width = params.directions * params.units / 4u;
    let unit = p.direction * params.units / 4u + unit_at(p);
    let x = load_gates_x(p, b);
    let reset = function_f(x[GATE_RESET] + r[GATE_RESET]);
    let update = function_f(x[GATE_UPDATE] + r[GATE_UPDATE]);
    let h = hidden[(of_direction(p.z, params.source_0, params.source_1) * params.batch + b) * width + unit];
    if is_own(p, i) {
        scratch[(SCRATCH_RESET * params.batch + b) * width + unit] = reset * h;
        scratch[(SCRATCH_UPDATE * params.batch + b) * width + unit] = update;
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step_reset(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    product(p, weight_start(p), p.slice, SLICES);
    finish_tile(p, lane);
}
