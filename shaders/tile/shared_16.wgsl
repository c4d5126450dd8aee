// 16 rows of the source an invocation, like tile/rows_*.wgsl, but the lanes of a subgroup load them together: each of
// eight lanes one row, which it broadcasts. A device that loads lane by lane spends its time on loads. Every invocation of
// the workgroup has the same rows, and each subgroup at least eight of them.
const ROWS: u32 = 16u;
const LOADING: u32 = 8u; // lanes that load

var<private> sum_0: Gates;
var<private> sum_1: Gates;
var<private> sum_2: Gates;
var<private> sum_3: Gates;
var<private> sum_4: Gates;
var<private> sum_5: Gates;
var<private> sum_6: Gates;
var<private> sum_7: Gates;
var<private> sum_8: Gates;
var<private> sum_9: Gates;
var<private> sum_10: Gates;
var<private> sum_11: Gates;
var<private> sum_12: Gates;
var<private> sum_13: Gates;
var<private> sum_14: Gates;
var<private> sum_15: Gates;

// Where the rows start that this lane loads.
var<private> source_0: u32;
var<private> source_1: u32;

fn start_rows(p: Place, bias: Gates) {
    let lane = subgroupExclusiveAdd(1u) % LOADING;
    source_0 = row_source(p, lane);
    source_1 = row_source(p, lane + 1u * LOADING);
    sum_0 = bias;
    sum_1 = bias;
    sum_2 = bias;
    sum_3 = bias;
    sum_4 = bias;
    sum_5 = bias;
    sum_6 = bias;
    sum_7 = bias;
    sum_8 = bias;
    sum_9 = bias;
    sum_10 = bias;
    sum_11 = bias;
    sum_12 = bias;
    sum_13 = bias;
    sum_14 = bias;
    sum_15 = bias;
}

// Adds depth 4k .. 4k + 3.
fn add_rows(k: u32, w0: Gates, w1: Gates, w2: Gates, w3: Gates) {
    let own_0 = load_source(source_0 + k);
    let own_1 = load_source(source_1 + k);
    sum_0 = add_product(sum_0, subgroupBroadcast(own_0, 0u), w0, w1, w2, w3);
    sum_1 = add_product(sum_1, subgroupBroadcast(own_0, 1u), w0, w1, w2, w3);
    sum_2 = add_product(sum_2, subgroupBroadcast(own_0, 2u), w0, w1, w2, w3);
    sum_3 = add_product(sum_3, subgroupBroadcast(own_0, 3u), w0, w1, w2, w3);
    sum_4 = add_product(sum_4, subgroupBroadcast(own_0, 4u), w0, w1, w2, w3);
    sum_5 = add_product(sum_5, subgroupBroadcast(own_0, 5u), w0, w1, w2, w3);
    sum_6 = add_product(sum_6, subgroupBroadcast(own_0, 6u), w0, w1, w2, w3);
    sum_7 = add_product(sum_7, subgroupBroadcast(own_0, 7u), w0, w1, w2, w3);
    sum_8 = add_product(sum_8, subgroupBroadcast(own_1, 0u), w0, w1, w2, w3);
    sum_9 = add_product(sum_9, subgroupBroadcast(own_1, 1u), w0, w1, w2, w3);
    sum_10 = add_product(sum_10, subgroupBroadcast(own_1, 2u), w0, w1, w2, w3);
    sum_11 = add_product(sum_11, subgroupBroadcast(own_1, 3u), w0, w1, w2, w3);
    sum_12 = add_product(sum_12, subgroupBroadcast(own_1, 4u), w0, w1, w2, w3);
    sum_13 = add_product(sum_13, subgroupBroadcast(own_1, 5u), w0, w1, w2, w3);
    sum_14 = add_product(sum_14, subgroupBroadcast(own_1, 6u), w0, w1, w2, w3);
    sum_15 = add_product(sum_15, subgroupBroadcast(own_1, 7u), w0, w1, w2, w3);
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
    finish(p, 8u, as_array(sum_8));
    finish(p, 9u, as_array(sum_9));
    finish(p, 10u, as_array(sum_10));
    finish(p, 11u, as_array(sum_11));
    finish(p, 12u, as_array(sum_12));
    finish(p, 13u, as_array(sum_13));
    finish(p, 14u, as_array(sum_14));
    finish(p, 15u, as_array(sum_15));
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
    share(lane, 8u, as_array(sum_8));
    share(lane, 9u, as_array(sum_9));
    share(lane, 10u, as_array(sum_10));
    share(lane, 11u, as_array(sum_11));
    share(lane, 12u, as_array(sum_12));
    share(lane, 13u, as_array(sum_13));
    share(lane, 14u, as_array(sum_14));
    share(lane, 15u, as_array(sum_15));
}
