// SLICES invocations, 4 lanes apart. Each sums a part of the depth. The
// parts meet in workgroup memory, and each slice finishes some of the rows.
override SLICES: u32 = 1u;

const TERMS: u32 = ROWS * PRODUCT_GATES;
var<workgroup> shares: array<vec4<f32>, 4u * PANELS * SLICES * TERMS>; // [lane][row][gate]

fn share(lane: u32, row: u32, sum: array<vec4<f32>, PRODUCT_GATES>) {
    for (var g = 0u; g < PRODUCT_GATES; g++) {
        shares[lane * TERMS + row * PRODUCT_GATES + g] = sum[g];
    }
}

fn finish_tile(p: Place, lane: u32) {
    share_rows(lane);
    // Makes the sums of all slices visible to the invocation that adds them.
    workgroupBarrier();
    let first = lane - p.slice * 4u;
    for (var row = p.slice; row < ROWS; row += SLICES) {
        var total: array<vec4<f32>, PRODUCT_GATES>;
        for (var slice = 0u; slice < SLICES; slice++) {
            for (var g = 0u; g < PRODUCT_GATES; g++) {
                total[g] += shares[(first + slice * 4u) * TERMS + row * PRODUCT_GATES + g];
            }
        }
        finish(p, row, total);
    }
}
