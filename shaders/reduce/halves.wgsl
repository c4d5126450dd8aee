// SLICES invocations, 4 lanes apart, at least two. The first half of them sum parts of the input product, and the
// others parts of the recurrent one. The parts meet in workgroup memory, and each slice finishes some of the rows.
override SLICES: u32 = 2u;

const TERMS: u32 = ROWS * PRODUCT_GATES;
var<workgroup> shares: array<vec4<f32>, 4u * PANELS * SLICES * TERMS>; // [lane][row][gate]

var<private> input_product: array<vec4<f32>, PRODUCT_GATES>; // of the row that is being finished

fn share(lane: u32, row: u32, sum: array<vec4<f32>, PRODUCT_GATES>) {
    for (var g = 0u; g < PRODUCT_GATES; g++) {
        shares[lane * TERMS + row * PRODUCT_GATES + g] = sum[g];
    }
}

// Adds up half of the slices, from the lane of the first one on.
fn half_of(first: u32, row: u32) -> array<vec4<f32>, PRODUCT_GATES> {
    var total: array<vec4<f32>, PRODUCT_GATES>;
    for (var slice = 0u; slice < SLICES / 2u; slice++) {
        for (var g = 0u; g < PRODUCT_GATES; g++) {
            total[g] += shares[(first + slice * 4u) * TERMS + row * PRODUCT_GATES + g];
        }
    }
    return total;
}

fn finish_tile(p: Place, lane: u32) {
    share_rows(lane);
    // Makes the sums of all slices visible to the invocation that adds them.
    workgroupBarrier();
    let first = lane - p.slice * 4u;
    for (var row = p.slice; row < ROWS; row += SLICES) {
        input_product = half_of(first, row);
        finish(p, row, half_of(first + SLICES / 2u * 4u, row));
    }
}
