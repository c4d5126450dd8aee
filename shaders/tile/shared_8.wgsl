// Each invocation has 8 rows of the source, as in tile/rows_8.wgsl, but the lanes of a subgroup load them together.
// Each of eight lanes loads one row and broadcasts it: a software GPU loads lane by lane, and spends its time on
// loads. All invocations of a workgroup have the same rows, and each of its subgroups has at least eight lanes.
const ROWS: u32 = 8u;

var<private> sum_0: Gates;
var<private> sum_1: Gates;
var<private> sum_2: Gates;
var<private> sum_3: Gates;
var<private> sum_4: Gates;
var<private> sum_5: Gates;
var<private> sum_6: Gates;
var<private> sum_7: Gates;

var<private> own_source: u32; // where the row that this lane loads starts

fn start_rows(p: Place, bias: Gates) {
    own_source = row_source(p, subgroupExclusiveAdd(1u) % ROWS);
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
    let own = load_elements(own_source + k);
    sum_0 = add_product(sum_0, subgroupBroadcast(own, 0u), w0, w1, w2, w3);
    sum_1 = add_product(sum_1, subgroupBroadcast(own, 1u), w0, w1, w2, w3);
    sum_2 = add_product(sum_2, subgroupBroadcast(own, 2u), w0, w1, w2, w3);
    sum_3 = add_product(sum_3, subgroupBroadcast(own, 3u), w0, w1, w2, w3);
    sum_4 = add_product(sum_4, subgroupBroadcast(own, 4u), w0, w1, w2, w3);
    sum_5 = add_product(sum_5, subgroupBroadcast(own, 5u), w0, w1, w2, w3);
    sum_6 = add_product(sum_6, subgroupBroadcast(own, 6u), w0, w1, w2, w3);
    sum_7 = add_product(sum_7, subgroupBroadcast(own, 7u), w0, w1, w2, w3);
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
