// A workgroup has 16 rows of the result by 64 columns, and an invocation has four by four.
const WORKGROUP: u32 = 64u;
const COLUMNS: u32 = 16u; // of a workgroup, in fours
const ROWS: u32 = 4u; // of an invocation

var<private> sum_0: Four;

// Returns which four of the depth this lane loads of a row.
fn own_four(k: u32) -> u32 {
    return k / 4u;
}

fn start_rows(column: u32, k: u32) {
    sum_0 = start_four(column, k);
}

fn add_row(s: vec4<f32>, d: vec4<f32>) {
    sum_0 = add_outer(sum_0, s, d);
}

fn finish_rows(column: u32, k: u32) {
    finish_four(column, k, sum_0);
}
