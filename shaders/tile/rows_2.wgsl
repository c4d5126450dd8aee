// Each invocation has 2 rows of the source, and each loaded weight serves them all. Named
// variables, no array and no loop, so that every driver keeps the sums in registers.
const ROWS: u32 = 2u;

var<private> sum_0: Gates;
var<private> sum_1: Gates;

var<private> source_0: u32;
var<private> source_1: u32;

fn start_rows(p: Place, bias: Gates) {
    source_0 = row_source(p, 0u);
    source_1 = row_source(p, 1u);
    sum_0 = bias;
    sum_1 = bias;
}

// Adds depth 4k .. 4k + 3.
fn add_rows(k: u32, w0: Gates, w1: Gates, w2: Gates, w3: Gates) {
    sum_0 = add_product(sum_0, load_elements(source_0 + k), w0, w1, w2, w3);
    sum_1 = add_product(sum_1, load_elements(source_1 + k), w0, w1, w2, w3);
}

fn finish_rows(p: Place) {
    finish(p, 0u, as_array(sum_0));
    finish(p, 1u, as_array(sum_1));
}

fn share_rows(lane: u32) {
    share(lane, 0u, as_array(sum_0));
    share(lane, 1u, as_array(sum_1));
}
