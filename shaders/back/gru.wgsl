// GRU, reset after the product. With r = f(x_r + q_r), z = f(x_z + q_z), n = g(x_n + r ∘ q_n): dn = dh ∘ (1 − z) ∘ g',
// dz = dh ∘ (h − n) ∘ f', dr = dn ∘ q_n ∘ f'. Of the product's new gate it is dn ∘ r, and z ∘ dh goes past it.
@group(0) @binding(2) var<storage, read_write> gates: array<vec4<f32>>; // [D][C][B][P][3][16]
@group(0) @binding(4) var<storage, read_write> recurrent: array<vec4<f32>>; // [D][C][B][P][3][16]
@group(0) @binding(5) var<storage, read> hidden: array<vec4<f32>>; // [R][B][D · H]

fn go_back(u: Unit, dh: vec4<f32>, lives: bool) {
    let at_reset = gates_at(u, 3u);
    let at_update = at_reset + 4u;
    let at_new = at_reset + 8u;
    let h = hidden[state_at(u, of_direction(u.z, params.source_0, params.source_1))];
    let q = recurrent[at_new];
    let r = curve_f(gates[at_reset] + recurrent[at_reset]);
    let z = curve_f(gates[at_update] + recurrent[at_update]);
    let n = curve_g(gates[at_new] + r.value * q);

    let d_new = in_step(u, lives, dh * (1.0 - z.value) * n.slope);
    let d_update = in_step(u, lives, dh * (h - n.value) * z.slope);
    let d_reset = in_step(u, lives, d_new * q * r.slope);
    gates[at_reset] = d_reset;
    gates[at_update] = d_update;
    gates[at_new] = d_new;
    recurrent[at_reset] = d_reset;
    recurrent[at_update] = d_update;
    recurrent[at_new] = in_step(u, lives, d_new * r.value);
    store_direct(u, select(dh, z.value * dh, lives));
}
