// GRU, reset before the product: the backward pass of the second half. See src/kernel/catalog/training.rs.
@group(0) @binding(1) var<storage, read_write> new_gate: array<vec4<f32>>; // [D][C][B][P][1][16]
@group(0) @binding(2) var<storage, read_write> gates: array<vec4<f32>>; // [D][C][B][P][3][16]
@group(0) @binding(4) var<storage, read_write> recurrent: array<vec4<f32>>; // [D][C][B][P][2][16]
@group(0) @binding(5) var<storage, read> hidden: array<vec4<f32>>; // [R][B][D · H]

@compute @workgroup_size(WORKGROUP)
fn new_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let u = unit_of(group, lane);
    if exists(u) {
        let dh = load_dh(u);
        let lives = has_step(u);
        let at = gates_at(u, 3u);
        let at_recurrent = gates_at(u, 2u);
        let at_given = gates_at(u, 1u);
        let h = hidden[state_at(u, of_direction(u.z, params.source_0, params.source_1))];
        let z = curve_f(gates[at + 4u] + recurrent[at_recurrent + 4u]);
        let n = curve_g(gates[at + 8u] + new_gate[at_given]);

        let d_new = in_step(u, lives, dh * (1.0 - z.value) * n.slope);
        let d_update = in_step(u, lives, dh * (h - n.value) * z.slope);
        // The reset gate waits for reset_back, except in rows without a step.
        gates[at] = in_step(u, lives, gates[at]);
        recurrent[at_recurrent] = in_step(u, lives, recurrent[at_recurrent]);
        gates[at + 4u] = d_update;
        recurrent[at_recurrent + 4u] = d_update;
        gates[at + 8u] = d_new;
        new_gate[at_given] = d_new;
        store_direct(u, select(dh, z.value * dh, lives));
    }
}
