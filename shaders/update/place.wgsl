// Where a tensor is in a packed buffer: see src/kernel/catalog/update.rs.
struct Layout {
    first: u32,
    panel: u32, // Elements of a panel; 0 in a table.
    gates: u32,
    units: u32,
    features: u32,
}

// The element in row n and column c.
fn place(of: Layout, n: u32, c: u32) -> u32 {
    if of.panel == 0u {
        return of.first + n * of.units + c;
    }
    let gate = n / of.units;
    let unit = n % of.units;
    let part = (of.features + 15u) / 16u * 16u;
    let k = c / of.features * part + c % of.features;
    return of.first + unit / 16u * of.panel + (k * of.gates + gate) * 16u + unit % 16u;
}
