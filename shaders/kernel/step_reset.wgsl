// First half of a timestep of GRU with the reset before the product. See src/kernel/catalog.rs.
const PRODUCT_GATES: u32 = 2u;

@group(0) @binding(3) var<storage, read> hidden: array<vec4<f32>>; // [R][B][D · H]
@group(0) @binding(4) var<storage, read_write> memory: array<vec4<f32>>; // [2][B][D · H]: r ∘ h, z

fn load_source(at: u32) -> vec4<f32> {
    return hidden[at];
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn step_reset(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    let width = params.directions * params.units / 4u;
    let source = of_direction(p.z, params.source_0, params.source_1);
    for (var i = 0u; i < ROWS; i++) {
        source_at[i] = (source * params.batch + batch_row(p, i)) * width + p.direction * params.depth / 4u;
    }
    product(weight_start(p), 4u * PRODUCT_GATES, params.depth, p.slice, SLICES);
    reduce(lane);

    let unit = p.direction * params.units / 4u + unit_at(p);
    for (var i = p.slice; i < ROWS; i += SLICES) {
        let b = batch_row(p, i);
        let x_at = gates_at(p, b);
        let reset = sigmoid(gates[x_at + GATE_RESET * 4u] + total(lane, i, GATE_RESET));
        let update = sigmoid(gates[x_at + GATE_UPDATE * 4u] + total(lane, i, GATE_UPDATE));
        let h = hidden[(source * params.batch + b) * width + unit];
        if p.inside && p.row + i < params.batch {
            memory[(MEMORY_RESET * params.batch + b) * width + unit] = reset * h;
            memory[(MEMORY_UPDATE * params.batch + b) * width + unit] = update;
        }
    }
}
