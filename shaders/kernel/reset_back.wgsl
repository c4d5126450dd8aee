// GRU, reset before the product: the backward pass of the first half. See src/kernel/catalog/training.rs.
@group(0) @binding(2) var<storage, read_write> gates: array<vec4<f32>>; // [D][C][B][P][3][16]
@group(0) @binding(4) var<storage, read_write> recurrent: array<vec4<f32>>; // [D][C][B][P][2][16]
@group(0) @binding(5) var<storage, read> hidden: array<vec4<f32>>; // [R][B][D · H]
@group(0) @binding(7) var<storage, read> product: array<vec4<f32>>; // [D][B][H]
@group(0) @binding(8) var<storage, read_write> direct: array<vec4<f32>>; // [D][B][H]

@compute @workgroup_size(WORKGROUP)
fn reset_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let u = unit_of(group, lane);
    if exists(u) {
        let at = gates_at(u, 3u);
        let at_recurrent = gates_at(u, 2u);
        let h = hidden[state_at(u, of_direction(u.z, params.source_0, params.source_1))];
        let dq = product[u.handed];
        let r = curve_f(gates[at] + recurrent[at_recurrent]);
        let d_reset = true_units(u, dq * h * r.slope);
        gates[at] = d_reset;
        recurrent[at_recurrent] = d_reset;
        direct[u.handed] = true_units(u, direct[u.handed] + dq * r.value);
    }
}
