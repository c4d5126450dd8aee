// SLICES invocations, 4 lanes apart, each sum a part of the depth; the parts meet in workgroup memory.
override SLICES: u32 = 1u;

const TERMS: u32 = ROWS * PRODUCT_GATES;
var<workgroup> shares: array<vec4<f32>, 4u * PANELS * SLICES * TERMS>; // [lane][row][gate]

fn reduce(lane: u32) {
    for (var i = 0u; i < TERMS; i++) {
        shares[lane * TERMS + i] = sums[i];
    }
    // Makes the partial sums of all slices visible to the invocation that adds them.
    workgroupBarrier();
}

fn total(lane: u32, row: u32, gate: u32) -> vec4<f32> {
    let first = lane - ((lane / 4u) % SLICES) * 4u;
    var sum = vec4(0.0);
    for (var slice = 0u; slice < SLICES; slice++) {
        sum += shares[(first + slice * 4u) * TERMS + row * PRODUCT_GATES + gate];
    }
    return sum;
}
