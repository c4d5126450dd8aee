// The product of many rows at once: every timestep's input product, and linear layers. See src/kernel/catalog.rs.
override PANELS: u32 = 1u;
override SLICES: u32 = 1u; // tiles of rows that a workgroup computes
override AFTER: u32 = 1u; // rows of a panel after those of the depth
override ADD: bool = false; // whether the product is added to the old values of the result

@group(0) @binding(2) var<storage, read> source: array<vec4<f32>>; // [..][source_units], of which K are taken
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][P][G][16]

struct Place {
    quad: u32,    // which four units of the panel
    inside: bool, // whether the panel exists: stores are guarded, loads are clamped
    panel: u32,   // of this dispatch, the first of WIDE
    row: u32,     // first row of the tile
    z: u32,       // direction of this dispatch
}

fn load_source(at: u32) -> vec4<f32> {
    return source[at];
}

fn row_source(p: Place, i: u32) -> u32 {
    let row = of_direction(p.z, params.source_0, params.source_1) + min(p.row + i, params.rows - 1u);
    return row * (params.source_units / 4u) + params.source_offset / 4u;
}

fn share(lane: u32, row: u32, sum: array<vec4<f32>, PRODUCT_GATES>) {
}

fn finish(p: Place, i: u32, r: array<vec4<f32>, PRODUCT_GATES>) {
    if p.inside && p.row + i < params.rows {
        let row = of_direction(p.z, params.target_0, params.target_1) + p.row + i;
        let at = row * (params.units / 4u) + (params.panel + p.panel) * ROW_FOURS + p.quad;
        for (var g = 0u; g < PRODUCT_GATES; g++) {
            // Gates are those of one panel, and a wide tile has a panel for each.
            let real = are_units(params.panel + p.panel + min(g, WIDE - 1u), p.quad);
            let product = select(vec4(0.0), activate_chosen(r[g]), real);
            if ADD {
                result[at + g * 4u] += product;
            } else {
                result[at + g * 4u] = product;
            }
        }
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn gemm(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let panel = (group.x * PANELS + (lane / 4u) % PANELS) * WIDE;
    let tile = group.y * SLICES + lane / (4u * PANELS);
    let p = Place(lane % 4u, panel < params.panels, min(panel, params.panels - WIDE), tile * ROWS, group.z);
    let first = params.weight_panel + p.z * params.weight_panels + p.panel;
    product(p, first * panel_fours(AFTER) + p.quad, 0u, 1u);
    finish_rows(p);
}
