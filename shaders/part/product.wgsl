// The product of ROWS rows of a source with PRODUCT_GATES gates of four units: registers only, each weight loaded
// once for all rows. A kernel supplies PRODUCT_GATES and load_source(at), both in fours.
// Sums run over k ascending, in fours, each slice on its own; reduce/*.wgsl adds the slices in order.

var<private> sums: array<vec4<f32>, ROWS * PRODUCT_GATES>;
var<private> source_at: array<u32, ROWS>; // where each row starts, in fours

// `weight_at`: gate 0 of row k = 0, in fours. `weight_step`: from one k to the next. Gates are 4 apart.
fn product(weight_at: u32, weight_step: u32, depth: u32, slice: u32, slices: u32) {
    let bias_at = weight_at + depth * weight_step;
    for (var g = 0u; g < PRODUCT_GATES; g++) {
        let bias = select(vec4(0.0), load_weight(bias_at + g * 4u), slice == 0u);
        for (var row = 0u; row < ROWS; row++) {
            sums[row * PRODUCT_GATES + g] = bias;
        }
    }
    for (var k = slice; k < depth / 4u; k += slices) {
        let at = weight_at + k * 4u * weight_step;
        for (var g = 0u; g < PRODUCT_GATES; g++) {
            let w0 = load_weight(at + g * 4u);
            let w1 = load_weight(at + weight_step + g * 4u);
            let w2 = load_weight(at + 2u * weight_step + g * 4u);
            let w3 = load_weight(at + 3u * weight_step + g * 4u);
            for (var row = 0u; row < ROWS; row++) {
                let s = load_source(source_at[row] + k);
                let i = row * PRODUCT_GATES + g;
                sums[i] = fma(vec4(s.w), w3, fma(vec4(s.z), w2, fma(vec4(s.y), w1, fma(vec4(s.x), w0, sums[i]))));
            }
        }
    }
}
