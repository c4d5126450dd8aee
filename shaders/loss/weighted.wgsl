// Each class has a weight.
@group(0) @binding(4) var<storage, read> class_weights: array<f32>; // [C]

fn class_weight(class_index: u32) -> f32 {
    return class_weights[class_index];
}
