// The band of a row that a panel of a convolution multiplies. See src/kernel/convolve.rs.

// Returns the group of the feature that element `column` of a row is, or the first number past all groups for padding.
fn group_of(column: u32) -> u32 {
    let padded = (params.source_features + 15u) / 16u * 16u;
    let within = column % padded;
    let feature = column / padded * params.source_features + within;
    return select(0xffffffffu, feature / params.tokens, within < params.source_features);
}

// Returns the first element of a row that panel `panel` multiplies, in fours.
fn band_of(panel: u32) -> u32 {
    let padded = (params.source_features + 15u) / 16u * 16u;
    let feature = panel * 16u / params.features * params.tokens;
    let column = feature / params.source_features * padded + feature % params.source_features;
    return min(column, params.source_units - params.depth / params.steps) / 4u;
}
