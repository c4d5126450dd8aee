// The gates of a product are panels of one gate each, one panel
// after the other. Each load of the source serves all of them.
const WIDE: u32 = PRODUCT_GATES; // panels of an invocation
const ROW_FOURS: u32 = 4u; // from one row of a panel to the next, in fours

// From one gate to the next, in fours: a panel ends in its bias.
fn gate_fours() -> u32 {
    return (params.depth + 1u) * ROW_FOURS;
}
