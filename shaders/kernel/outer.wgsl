// The gradient of a matrix: rows of a source times rows of delta, summed over all rows. See src/kernel/catalog.rs.
// outer/*.wgsl has the factors, and the rows and columns of an invocation. The bias has its own workgroups.
const TILE: u32 = 16u;

override FIRST: bool = false;
override GATES: u32 = 1u;
override AFTER: u32 = 1u; // rows of a panel after those of the depth
override GATEWISE: bool = false; // whether each gate has its own elements of the source

@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [P][K + AFTER][G][16]

// Four rows of four columns. Named members, no array and no loop, so that every driver keeps them in registers.
struct Four {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
}

fn add_outer(sum: Four, s: vec4<f32>, d: vec4<f32>) -> Four {
    return Four(
        fma(vec4(s.x), d, sum.r0),
        fma(vec4(s.y), d, sum.r1),
        fma(vec4(s.z), d, sum.r2),
        fma(vec4(s.w), d, sum.r3),
    );
}

// Returns the place of four columns of row k, in fours. Past the bias, it is that of the bias.
fn place(column: u32, k: u32) -> u32 {
    let group = column / 4u;
    let panel = params.weight_panel + group / GATES;
    return ((panel * (params.depth + AFTER) + min(k, params.depth)) * GATES + group % GATES) * 4u + column % 4u;
}

fn start(column: u32, k: u32) -> vec4<f32> {
    return select(result[place(column, k)], vec4(0.0), FIRST);
}

fn start_four(column: u32, k: u32) -> Four {
    return Four(start(column, k), start(column, k + 1u), start(column, k + 2u), start(column, k + 3u));
}

// Writes four columns of row k, with zeros for padding.
fn finish(column: u32, k: u32, sum: vec4<f32>) {
    let unit = column / (4u * GATES) * TILE + column % 4u * 4u + vec4(0u, 1u, 2u, 3u);
    let is_row = k == params.depth || k % (params.depth / params.source_directions) < params.features;
    if column < params.units / 4u {
        result[place(column, k)] = select(vec4(0.0), sum, vec4(is_row) & (unit < vec4(params.count)));
    }
}

fn finish_four(column: u32, k: u32, sum: Four) {
    if k < params.depth {
        finish(column, k, sum.r0);
        finish(column, k + 1u, sum.r1);
        finish(column, k + 2u, sum.r2);
        finish(column, k + 3u, sum.r3);
    }
}

// Adds up four columns of delta for the bias, which is one row. The rows after it belong to another kernel.
fn add_bias(own_column: u32, column: u32) {
    let width = params.units / 4u;
    var sum = start(column, params.depth);
    var delta_at = params.target_0 * width + column;
    for (var m = 0u; m < params.rows; m++) {
        sum += load_delta(delta_at);
        delta_at += width;
    }
    finish(own_column, params.depth, sum);
}

@compute @workgroup_size(WORKGROUP)
fn outer(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own_column = group.y * COLUMNS + lane % COLUMNS;
    let width = params.units / 4u;
    let column = min(own_column, width - 1u);
    let k = (group.x * (WORKGROUP / COLUMNS) + lane / COLUMNS) * ROWS;
    if k >= params.depth {
        if lane < COLUMNS {
            add_bias(own_column, column);
        }
    } else {
        start_rows(column, k);
        // The order is fixed, so that the result depends only on the rows.
        var source_width = params.source_units / 4u;
        var source_four = params.source_offset / 4u + own_four(k);
        if GATEWISE {
            source_width *= GATES;
            source_four = (source_four / 4u * GATES + column / 4u % GATES) * 4u + source_four % 4u;
        }
        var source_at = params.source_0 * source_width + source_four;
        var delta_at = params.target_0 * width + column;
        let fours = params.rows / 4u;
        for (var four = 0u; four < fours; four++) {
            let s0 = load_source(source_at);
            let s1 = load_source(source_at + source_width);
            let s2 = load_source(source_at + 2u * source_width);
            let s3 = load_source(source_at + 3u * source_width);
            let d0 = load_delta(delta_at);
            let d1 = load_delta(delta_at + width);
            let d2 = load_delta(delta_at + 2u * width);
            let d3 = load_delta(delta_at + 3u * width);
            add_row(s0, d0);
            add_row(s1, d1);
            add_row(s2, d2);
            add_row(s3, d3);
            source_at += 4u * source_width;
            delta_at += 4u * width;
        }
        for (var m = fours * 4u; m < params.rows; m++) {
            add_row(load_source(source_at), load_delta(delta_at));
            source_at += source_width;
            delta_at += width;
        }
        finish_rows(own_column, k);
    }
}
