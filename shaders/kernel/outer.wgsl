// The gradient of a matrix: rows of a source times rows of delta, summed over all of them. See src/kernel/catalog.rs.
// A workgroup has 16 rows of the result by 64 columns, an invocation four by four; the bias is in a tile of its own.
const WORKGROUP: u32 = 64u;
const TILE: u32 = 16u;

override FIRST: bool = false;
override GATES: u32 = 1u;
override AFTER: u32 = 1u; // rows of a panel after those of the depth

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][source_units], of which K are taken
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>; // [..][P][G][16]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [P][K + AFTER][G][16]

// Rows k .. k + 3 of four columns. Named variables, no array and no loop, so that every driver keeps them in registers.
var<private> sum_0: vec4<f32>;
var<private> sum_1: vec4<f32>;
var<private> sum_2: vec4<f32>;
var<private> sum_3: vec4<f32>;

fn add_row(s: vec4<f32>, d: vec4<f32>) {
    sum_0 = fma(vec4(s.x), d, sum_0);
    sum_1 = fma(vec4(s.y), d, sum_1);
    sum_2 = fma(vec4(s.z), d, sum_2);
    sum_3 = fma(vec4(s.w), d, sum_3);
}

// Where four columns of row k are, in fours; past the bias, where those of the bias are.
fn place(column: u32, k: u32) -> u32 {
    let group = column / 4u;
    let panel = params.weight_panel + group / GATES;
    return ((panel * (params.depth + AFTER) + min(k, params.depth)) * GATES + group % GATES) * 4u + column % 4u;
}

fn start(column: u32, k: u32) -> vec4<f32> {
    return select(result[place(column, k)], vec4(0.0), FIRST);
}

// Four columns of row k, zeros where they are padding.
fn finish(column: u32, k: u32, sum: vec4<f32>) {
    let unit = column / (4u * GATES) * TILE + column % 4u * 4u + vec4(0u, 1u, 2u, 3u);
    let is_row = k == params.depth || k % (params.depth / params.source_directions) < params.features;
    if k <= params.depth && column < params.units / 4u {
        result[place(column, k)] = select(vec4(0.0), sum, vec4(is_row) & (unit < vec4(params.count)));
    }
}

@compute @workgroup_size(WORKGROUP)
fn outer(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own_column = group.y * TILE + lane % TILE;
    let width = params.units / 4u;
    let column = min(own_column, width - 1u);
    let k = group.x * TILE + lane / TILE * 4u;
    let is_bias = k >= params.depth;
    sum_0 = start(column, k);
    sum_1 = start(column, k + 1u);
    sum_2 = start(column, k + 2u);
    sum_3 = start(column, k + 3u);

    // In order, so that the result depends on nothing but the rows.
    var delta_at = params.target_0 * width + column;
    if is_bias {
        for (var m = 0u; m < params.rows; m++) {
            sum_0 += delta[delta_at];
            delta_at += width;
        }
    } else {
        let source_width = params.source_units / 4u;
        var source_at = params.source_0 * source_width + (params.source_offset + k) / 4u;
        let fours = params.rows / 4u;
        for (var four = 0u; four < fours; four++) {
            let s0 = source[source_at];
            let s1 = source[source_at + source_width];
            let s2 = source[source_at + 2u * source_width];
            let s3 = source[source_at + 3u * source_width];
            let d0 = delta[delta_at];
            let d1 = delta[delta_at + width];
            let d2 = delta[delta_at + 2u * width];
            let d3 = delta[delta_at + 3u * width];
            add_row(s0, d0);
            add_row(s1, d1);
            add_row(s2, d2);
            add_row(s3, d3);
            source_at += 4u * source_width;
            delta_at += 4u * width;
        }
        for (var m = fours * 4u; m < params.rows; m++) {
            add_row(source[source_at], delta[delta_at]);
            source_at += source_width;
            delta_at += width;
        }
    }

    // The bias is one row; those after it are another kernel's.
    finish(own_column, k, sum_0);
    if !is_bias {
        finish(own_column, k + 1u, sum_1);
        finish(own_column, k + 2u, sum_2);
        finish(own_column, k + 3u, sum_3);
    }
}
