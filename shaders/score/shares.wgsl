// The shares by which a row sums others, and where the sum goes. The kernel has `shares` and `result`.
override FIRST: bool = false;
override TRANSPOSED: bool = false;

// The share of the first row of the source, and the elements from one share to the next.
struct Shares {
    at: u32,
    step: u32,
}

// Returns those of row `row` of the result, which is row `y` of the dispatch.
fn shares_of(y: u32, row: u32) -> Shares {
    let own = select(y, row % params.batch, TRANSPOSED);
    let column = params.source_offset + select(0u, row / params.batch, TRANSPOSED);
    let step = select(1u, params.batch * params.source_units, TRANSPOSED);
    return Shares((params.source_1 + own) * params.source_units + column, step);
}

// Writes the `c`-th four of a row, which is at `at`: `by` times `sum`, and what is there if it is not the first.
fn store_sum(at: u32, c: u32, by: vec4<f32>, sum: vec4<f32>) {
    let added = fma(by, sum, select(result[at], vec4(0.0), FIRST));
    let is_feature = 4u * c + vec4(0u, 1u, 2u, 3u) < vec4(params.features);
    result[at] = select(vec4(0.0), added, is_feature);
}
