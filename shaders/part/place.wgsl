// How a step is divided. A workgroup has PANELS times WIDE panels of 16 units, and SLICES slices of the
// depth. For each group of WIDE panels and each slice it has four lanes, with four units of each panel.
override PANELS: u32 = 1u;

struct Place {
    quad: u32,      // which four units of the panel
    slice: u32,     // which slice of the depth
    inside: bool,   // whether the panel exists: stores are guarded, loads are clamped
    panel: u32,     // of this dispatch, the first of WIDE
    row: u32,       // first row of the batch
    z: u32,         // direction of this dispatch
    direction: u32, // direction in the features
}

fn place(group: vec3<u32>, lane: u32) -> Place {
    let panel = (group.x * PANELS + lane / (4u * SLICES)) * WIDE;
    return Place(
        lane % 4u,
        (lane / 4u) % SLICES,
        panel < params.panels,
        min(panel, params.panels - WIDE),
        group.y * ROWS,
        group.z,
        params.direction + group.z,
    );
}

// Returns the row of the batch of row `i` of the tile. Past the end it is the last one, whose result is not stored.
fn batch_row(p: Place, i: u32) -> u32 {
    return min(p.row + i, params.batch - 1u);
}

// Returns where the weights of the place start, in fours.
fn weight_start(p: Place) -> u32 {
    let panel = params.weight_panel + p.z * params.weight_panels + p.panel;
    return panel * panel_fours(ROWS_AFTER_DEPTH) + p.quad;
}

// Returns the first of the place's four units among the padded features of a direction, in fours.
fn unit_at(p: Place) -> u32 {
    return (params.panel + p.panel) * 4u + p.quad;
}

// Whether the place writes row `i` of the tile.
fn is_own(p: Place, i: u32) -> bool {
    return p.inside && p.row + i < params.batch;
}
