// Where a tensor is in a packed buffer: see src/kernel/catalog/update.rs.
struct Layout {
    first: u32,
    panel: u32, // Elements of a panel; 0 in a table.
    gates: u32,
    units: u32,
    features: u32,
}

// Returns the place of the element in row n and column c.
fn place(laid: Layout, n: u32, c: u32) -> u32 {
    if laid.panel == 0u {
        return laid.first + n * laid.units + c;
    }
    let gate = n / laid.units;
    let unit = n % laid.units;
    let part = (laid.features + 15u) / 16u * 16u;
    let k = c / laid.features * part + c % laid.features;
    return laid.first + unit / 16u * laid.panel + (k * laid.gates + gate) * 16u + unit % 16u;
}
