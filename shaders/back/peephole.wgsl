// Gates see the cell state of their own unit. The weights are in the recurrent
// matrix' panels, K deep: the row after the bias has them, gate by gate.
@group(0) @binding(4) var<storage, read> peepholes: array<vec4<f32>>; // [D][P][K + 2][4][16]

var<private> peepholes_at: u32;

fn load_peepholes_of(panel: u32, quad: u32, depth: u32) {
    peepholes_at = (panel * (depth + 2u) + depth + 1u) * 16u + quad;
}

fn peephole(gate: u32) -> vec4<f32> {
    return peepholes[peepholes_at + gate * 4u];
}
