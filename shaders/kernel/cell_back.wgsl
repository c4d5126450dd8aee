// The backward pass of the cell of one timestep of an LSTM that projects its state. See src/kernel/catalog/training.rs.
@group(0) @binding(2) var<storage, read_write> gates: array<vec4<f32>>; // [D][C][B][P][4][16]
@group(0) @binding(5) var<storage, read> cell_state: array<vec4<f32>>; // [M][B][D · H]
@group(0) @binding(6) var<storage, read_write> result: array<vec4<f32>>; // [D][C][B][units]
@group(0) @binding(7) var<storage, read> product: array<vec4<f32>>; // [D][B][units]
@group(0) @binding(9) var<storage, read_write> carry: array<vec4<f32>>; // [D][B][H]

fn go_back(u: Unit) {
    let at = gates_at(u, KEPT);
    var a: array<vec4<f32>, KEPT>;
    for (var g = 0u; g < KEPT; g++) {
        a[g] = gates[at + g * 4u];
    }
    let s = array<vec4<f32>, 2>(cell_state[state_at(u, params.cell_in)], cell_state[state_at(u, params.cell_out)]);
    let carried = carry[u.handed];
    load_peepholes_of(params.weight_panel + u.z * params.weight_panels + u.four / 4u, u.four % 4u, params.depth);
    let found = gradients_of(a, s, product[u.handed], carried);
    let lives = has_step(u);
    for (var g = 0u; g < KEPT; g++) {
        gates[at + g * 4u] = in_step(u, lives, found.delta[g]);
    }
    carry[u.handed] = true_units(u, select(carried, found.past[1], lives));
    result[gates_at(u, 1u)] = in_step(u, lives, found.shown);
}

@compute @workgroup_size(WORKGROUP)
fn cell_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let u = unit_of(group, lane);
    if exists(u) {
        go_back(u);
    }
}
