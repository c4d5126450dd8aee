// Second half of a timestep of GRU with the reset before the product. See src/kernel/catalog.rs.
const PRODUCT_GATES: u32 = 1u;

@group(0) @binding(4) var<storage, read> memory: array<vec4<f32>>; // [2][B][D · H]: r ∘ h, z
@group(0) @binding(5) var<storage, read_write> hidden: array<vec4<f32>>; // [R][B][D · H]

fn load_source(at: u32) -> vec4<f32> {
    return memory[at];
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step_new(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    let width = params.directions * params.units / 4u;
    for (var i = 0u; i < ROWS; i++) {
        source_at[i] = (MEMORY_RESET * params.batch + batch_row(p, i)) * width + p.direction * params.depth / 4u;
    }
    product(weight_start(p), 4u * PRODUCT_GATES, params.depth, p.slice, SLICES);
    reduce(lane);

    let unit = p.direction * params.units / 4u + unit_at(p);
    for (var i = p.slice; i < ROWS; i += SLICES) {
        let b = batch_row(p, i);
        let n = hyperbolic_tangent(gates[gates_at(p, b) + GATE_NEW * 4u] + total(lane, i, 0u));
        let z = memory[(MEMORY_UPDATE * params.batch + b) * width + unit];
        let h = hidden[(of_direction(p.z, params.source_0, params.source_1) * params.batch + b) * width + unit];
        let alive = is_live(of_direction(p.z, params.live_0, params.live_1) * params.batch + b);
        if p.inside && p.row + i < params.batch {
            let at = (of_direction(p.z, params.target_0, params.target_1) * params.batch + b) * width + unit;
            hidden[at] = select(h, (1.0 - z) * n + z * h, alive);
        }
    }
}
