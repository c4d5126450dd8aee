// A convolution over the steps of a sequence: a product whose taps read rows of their own. See
// src/kernel/catalog/convolve.rs. Sums run over the taps ascending, and for each over its elements ascending.
override PANELS: u32 = 1u;
override SLICES: u32 = 1u; // tiles of rows that a workgroup computes

@group(0) @binding(2) var<storage, read> source: array<vec4<f32>>; // [..][source_units]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][P][16]

struct Place {
    quad: u32,    // which four units of the panel
    inside: bool, // whether the panel exists: stores are guarded, loads are clamped
    panel: u32,   // of this dispatch, the first of WIDE
    row: u32,     // first row of the tile
}

// From the rows of the first tap to those of the current one, in fours.
var<private> shift: u32;

// Loads four elements, or zeros outside of the sequence. A place before it has wrapped around, and is past its end.
fn load_source(at: u32) -> vec4<f32> {
    let width = params.source_units / 4u;
    let place = at + shift;
    let inside = place - params.kept_0 * width < params.kept_1 * width;
    return select(vec4(0.0), source[select(0u, place, inside)], inside);
}

fn row_source(p: Place, i: u32) -> u32 {
    let n = params.offset + min(p.row + i, params.rows - 1u);
    let step = n / params.batch * params.time_step_0;
    let row = params.source_0 + step * params.batch + n % params.batch;
    return row * (params.source_units / 4u) + band_of(params.panel + p.panel);
}

fn share(lane: u32, row: u32, sum: array<vec4<f32>, PRODUCT_GATES>) {
}

fn finish(p: Place, i: u32, r: array<vec4<f32>, PRODUCT_GATES>) {
    if p.inside && p.row + i < params.rows {
        let row = params.target_0 + p.row + i;
        let at = row * (params.units / 4u) + (params.panel + p.panel) * ROW_FOURS + p.quad;
        for (var g = 0u; g < PRODUCT_GATES; g++) {
            let real = are_units(params.panel + p.panel + g, p.quad);
            result[at + g * 4u] = select(vec4(0.0), activate_chosen(r[g]), real);
        }
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn conv(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let panel = (group.x * PANELS + (lane / 4u) % PANELS) * WIDE;
    let tile = group.y * SLICES + lane / (4u * PANELS);
    let p = Place(lane % 4u, panel < params.panels, min(panel, params.panels - WIDE), tile * ROWS);
    let first = (params.weight_panel + p.panel) * panel_fours(1u) + p.quad;
    start_rows(p, load_row_after(first, BIAS));
    load_scales(first);
    let fours = params.depth / params.steps / 4u;
    let step = ROW_FOURS;
    var at = first;
    for (var tap = 0u; tap < params.steps; tap++) {
        shift = tap * params.time_step_1 * params.batch * (params.source_units / 4u);
        for (var k = 0u; k < fours; k++) {
            add_rows(k, load_row(at), load_row(at + step), load_row(at + 2u * step), load_row(at + 3u * step));
            at += 4u * step;
        }
    }
    finish_rows(p);
}
