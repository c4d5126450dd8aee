// The gates of a product are those of one panel, side by side in each of its rows.
const WIDE: u32 = 1u; // panels of an invocation
const ROW_FOURS: u32 = 4u * PRODUCT_GATES; // from one row of a panel to the next, in fours

// From one gate to the next, in fours.
fn gate_fours() -> u32 {
    return 4u;
}
