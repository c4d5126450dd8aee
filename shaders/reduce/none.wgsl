// One invocation sums the whole depth: nothing to add up. SLICES is 1.
override SLICES: u32 = 1u;

fn reduce(lane: u32) {
}

fn total(lane: u32, row: u32, gate: u32) -> vec4<f32> {
    return sums[row * PRODUCT_GATES + gate];
}
