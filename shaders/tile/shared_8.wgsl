// 8 rows of the source an invocation, like tile/rows_*.wgsl, but the lanes of a subgroup load them together: each of
// eight lanes one row, which it broadcasts. A device that loads lane by lane spends its time on loads. Every invocation of
// the workgroup has the same rows, and each subgroup at least eight of them.
const ROWS: u32 = 8u;
const LOADING: u32 = 8u; // lanes that load

var<private> sum_0: Gates;
var<private> sum_1: Gates;
var<private> sum_2: Gates;
var<private> sum_3: Gates;
var<private> sum_4: Gates;
var<private> sum_5: Gates;
var<private> sum_6: Gates;
var<private> sum_7: Gates;

// Where the rows start that this lane loads.
var<private> source_0: u32;

fn start_rows(p: Place, bias: Gates) {
    let lane = subgroupExclusiveAdd(1u) % LOADING;
    source_0 = row_source(p, lane);
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
    let own_0 = load_source(source_0 + k);
    sum_0 = add_product(sum_0, subgroupBroadcast(own_0, 0u), w0, w1, w2, w3);
    sum_1 = add_product(sum_1, subgroupBroadcast(own_0, 1u), w0, w1, w2, w3);
    sum_2 = add_product(sum_2, subgroupBroadcast(own_0, 2u), w0, w1, w2, w3);
    sum_3 = add_product(sum_3, subgroupBroadcast(own_0, 3u), w0, w1, w2, w3);
    sum_4 = add_product(sum_4, subgroupBroadcast(own_0, 4u), w0, w1, w2, w3);
    sum_5 = add_product(sum_5, subgroupBroadcast(own_0, 5u), w0, w1, w2, w3);
    sum_6 = add_product(sum_6, subgroupBroadcast(own_0, 6u), w0, w1, w2, w3);
    sum_7 = add_product(sum_7, subgroupBroadcast(own_0, 7u), w0, w1, w2, w3);
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
