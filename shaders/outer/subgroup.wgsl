// A workgroup has 32 rows of the result by 128 columns, and an invocation has all rows
// of four columns. The lanes of a subgroup load a row of the source together: each of
// eight lanes loads four of the depth and broadcasts them. See tile/shared_8.wgsl.
const WORKGROUP: u32 = 32u;
const COLUMNS: u32 = 32u; // of a workgroup, in fours
const ROWS: u32 = 32u; // of an invocation
const LOADERS: u32 = ROWS / 4u; // lanes that load

var<private> sum_0: Four;
var<private> sum_1: Four;
var<private> sum_2: Four;
var<private> sum_3: Four;
var<private> sum_4: Four;
var<private> sum_5: Four;
var<private> sum_6: Four;
var<private> sum_7: Four;

// Returns which four of the depth this lane loads of a row. Past
// the depth it is the last four, whose products are not stored.
fn own_four(k: u32) -> u32 {
    return min(k / 4u + subgroupExclusiveAdd(1u) % LOADERS, params.depth / 4u - 1u);
}

fn start_rows(column: u32, k: u32) {
    sum_0 = start_four(column, k);
    sum_1 = start_four(column, k + 4u);
    sum_2 = start_four(column, k + 8u);
    sum_3 = start_four(column, k + 12u);
    sum_4 = start_four(column, k + 16u);
    sum_5 = start_four(column, k + 20u);
    sum_6 = start_four(column, k + 24u);
    sum_7 = start_four(column, k + 28u);
}

fn add_row(s: vec4<f32>, d: vec4<f32>) {
    sum_0 = add_outer(sum_0, subgroupBroadcast(s, 0u), d);
    sum_1 = add_outer(sum_1, subgroupBroadcast(s, 1u), d);
    sum_2 = add_outer(sum_2, subgroupBroadcast(s, 2u), d);
    sum_3 = add_outer(sum_3, subgroupBroadcast(s, 3u), d);
    sum_4 = add_outer(sum_4, subgroupBroadcast(s, 4u), d);
    sum_5 = add_outer(sum_5, subgroupBroadcast(s, 5u), d);
    sum_6 = add_outer(sum_6, subgroupBroadcast(s, 6u), d);
    sum_7 = add_outer(sum_7, subgroupBroadcast(s, 7u), d);
}

fn finish_rows(column: u32, k: u32) {
    finish_four(column, k, sum_0);
    finish_four(column, k + 4u, sum_1);
    finish_four(column, k + 8u, sum_2);
    finish_four(column, k + 12u, sum_3);
    finish_four(column, k + 16u, sum_4);
    finish_four(column, k + 20u, sum_5);
    finish_four(column, k + 24u, sum_6);
    finish_four(column, k + 28u, sum_7);
}
