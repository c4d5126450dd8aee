// The product of many rows at once: every timestep's input product, and linear layers. See src/kernel/catalog.rs.
const PRODUCT_GATES: u32 = 1u;
const WORKGROUP: u32 = 64u;

@group(0) @binding(2) var<storage, read> source: array<vec4<f32>>; // [..][K]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][P][G][16]

fn load_source(at: u32) -> vec4<f32> {
    return source[at];
}

@compute @workgroup_size(WORKGROUP)
fn project(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let panel_quads = 4u * params.gates;
    let quads = params.panels * panel_quads;
    let inside = group.x * WORKGROUP + lane < quads;
    let quad = min(group.x * WORKGROUP + lane, quads - 1u);
    let row = group.y * ROWS;
    let first = of_direction(group.z, params.source_0, params.source_1);
    for (var i = 0u; i < ROWS; i++) {
        source_at[i] = (first + min(row + i, params.rows - 1u)) * (params.depth / 4u);
    }
    let panel = params.weight_panel + group.z * params.weight_panels + quad / panel_quads;
    product(panel * (params.depth + 1u) * panel_quads + quad % panel_quads, panel_quads, params.depth, 0u, 1u);

    let written = of_direction(group.z, params.target_0, params.target_1);
    for (var i = 0u; i < ROWS; i++) {
        if inside && row + i < params.rows {
            let at = (written + row + i) * (params.units / 4u) + params.panel * panel_quads + quad;
            result[at] = activate_chosen(sums[i]);
        }
    }
}
