// Each invocation has 8 rows of the source, and each loaded weight serves them all. Named
// variables, no array and no loop, so that every driver keeps the sums in registers.
const ROWS: u32 = 8u;

var<private> sum_0: Gates;
var<private> sum_1: Gates;
var<private> sum_2: Gates;
var<private> sum_3: Gates;
var<private> sum_4: Gates;
var<private> sum_5: Gates;
var<private> sum_6: Gates;
var<private> sum_7: Gates;

var<private> source_0: u32;
var<private> source_1: u32;
var<private> source_2: u32;
var<private> source_3: u32;
var<private> source_4: u32;
var<private> source_5: u32;
var<private> source_6: u32;
var<private> source_7: u32;

fn start_rows(p: Place, bias: Gates) {
    source_0 = row_source(p, 0u);
    source_1 = row_source(p, 1u);
    source_2 = row_source(p, 2u);
    source_3 = row_source(p, 3u);
    source_4 = row_source(p, 4u);
    source_5 = row_source(p, 5u);
    source_6 = row_source(p, 6u);
    source_7 = row_source(p, 7u);
    sum_0 = bias;
    sum_1 = bias;
    sum_2 = bias;
    sum_3 = bias;
    sum_4 = bias;
    sum_5 = bias;
    sum_6 = bias;
    sum_7 = bias;
}

// Adds depth 4k .. 4k + 3.
fn add_rows(k: u32, w0: Gates, w1: Gates, w2: Gates, w3: Gates) {
    sum_0 = add_product(sum_0, load_elements(source_0 + k), w0, w1, w2, w3);
    sum_1 = add_product(sum_1, load_elements(source_1 + k), w0, w1, w2, w3);
    sum_2 = add_product(sum_2, load_elements(source_2 + k), w0, w1, w2, w3);
    sum_3 = add_product(sum_3, load_elements(source_3 + k), w0, w1, w2, w3);
    sum_4 = add_product(sum_4, load_elements(source_4 + k), w0, w1, w2, w3);
    sum_5 = add_product(sum_5, load_elements(source_5 + k), w0, w1, w2, w3);
    sum_6 = add_product(sum_6, load_elements(source_6 + k), w0, w1, w2, w3);
    sum_7 = add_product(sum_7, load_elements(source_7 + k), w0, w1, w2, w3);
}

fn finish_rows(p: Place) {
    finish(p, 0u, as_array(sum_0));
    finish(p, 1u, as_array(sum_1));
    finish(p, 2u, as_array(sum_2));
    finish(p, 3u, as_array(sum_3));
    finish(p, 4u, as_array(sum_4));
    finish(p, 5u, as_array(sum_5));
    finish(p, 6u, as_array(sum_6));
    finish(p, 7u, as_array(sum_7));
}

fn share_rows(lane: u32) {
    share(lane, 0u, as_array(sum_0));
    share(lane, 1u, as_array(sum_1));
    share(lane, 2u, as_array(sum_2));
    share(lane, 3u, as_array(sum_3));
    share(lane, 4u, as_array(sum_4));
    share(lane, 5u, as_array(sum_5));
    share(lane, 6u, as_array(sum_6));
    share(lane, 7u, as_array(sum_7));
}
