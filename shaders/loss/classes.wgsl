// The cross-entropy of logits with a class. CONSTANT is the part of 1 that all classes share.
@group(0) @binding(2) var<storage, read> tokens: array<u32>; // [..]

var<private> highest: f32;
var<private> total: f32; // of the exponentials
var<private> class_of_row: u32;
var<private> own: f32;   // the class's own part
var<private> share: f32; // the part of each class, without its weight
var<private> together: f32; // the part of all classes together

// Returns the loss of a row. gradient() must then be called for the same row.
fn row_loss(row: u32, read_at: u32, lane: u32) -> f32 {
    let width = params.directions * params.units;
    let classes = params.directions * params.features;

    var most = -3.4e38;
    for (var c = lane; c < width; c += WORKGROUP) {
        most = max(most, select(-3.4e38, source[read_at + c], is_feature(c)));
    }
    highest = highest_of_lanes(lane, most);

    var sum = 0.0;
    var weight = 0.0;
    var below = 0.0; // how far the logits are below the highest, by weight
    for (var c = lane; c < width; c += WORKGROUP) {
        if is_feature(c) {
            let z = source[read_at + c] - highest;
            let w = class_weight(feature_at(c));
            sum += exp_bounded(vec4(z)).x;
            weight += w;
            below -= w * z;
        }
    }
    total = sum_of_lanes(lane, sum);
    let weights = sum_of_lanes(lane, weight);
    let all_below = sum_of_lanes(lane, below);

    // A class that does not exist has no share.
    let class_index = tokens[row];
    class_of_row = class_index;
    let is_class = class_index < classes;
    let inside = select(0u, class_index, is_class);
    own = select(0.0, (1.0 - CONSTANT) * class_weight(inside), is_class);
    share = CONSTANT / f32(classes);
    together = own + share * weights;
    let log_total = logarithm(vec4(total)).x;
    let z = source[read_at + inside / params.features * params.units + inside % params.features] - highest;
    // A share of 0 contributes 0, however far a logit is below.
    let shared_loss = select(share * (weights * log_total + all_below), 0.0, CONSTANT == 0.0);
    return select(0.0, own * (log_total - z), is_class) + shared_loss;
}

fn gradient(row: u32, c: u32, z: f32) -> f32 {
    let feature = feature_at(c);
    let inside = min(feature, params.directions * params.features - 1u);
    let q = share * class_weight(inside) + select(0.0, own, feature == class_of_row && is_feature(c));
    return exp_bounded(vec4(z - highest)).x / total * together - q;
}
