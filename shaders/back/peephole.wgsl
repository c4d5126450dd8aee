// Gates see their own unit's cell state: the row after the bias holds the weights, gate by gate.
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>; // [D][P][K + 2][4][16]

fn load_peephole(u: Unit, gate: u32) -> vec4<f32> {
    let panel = params.weight_panel + u.z * params.weight_panels + u.four / 4u;
    return weights[(panel * (params.depth + 2u) + params.depth + 1u) * 16u + gate * 4u + u.four % 4u];
}
