//! Plans of weights in 8-bit integers: what is bound, and how little.

use super::*;

fn plan_of(model: &Model, storage: Storage, target: Target) -> Plan {
    let tuning = held_to(Strategy::Step, target);
    let layout = Layout::of(model, storage).expect("the model is right").with_medium(tuning.medium());
    lower(model, &layout, Shape::new(3, 2, Mask::All), &Limits::WEBGPU, &tuning).expect("it fits")
}

#[test]
fn golden_integers() {
    let model = Model::new().layer(Embedding::new(65, 7)).layer(Lstm::new(7, 20).peepholes()).layer(Linear::new(20, 5));
    assert_golden("integers", &plan_of(&model, Storage::I8, Target::Gpu));
}

#[test]
fn weights_take_a_quarter_as_integers_but_for_scales_and_biases() {
    let model = Model::new().layer(Lstm::new(512, 512).num_layers(2)).layer(Linear::new(512, 64));
    let bytes = |storage, target| plan_of(&model, storage, target).bytes(|kind| matches!(kind, SlotKind::Weights(_)));
    for target in [Target::Host, Target::Software, Target::Gpu] {
        let [floats, halves, integers] = Storage::ALL.map(|storage| bytes(storage, target));
        let rows = 4 * (2 * 4 * 2 * 512 + 64);
        assert_eq!((halves, integers), (floats / 2, (floats - rows) / 4 + 2 * rows), "{target:?}");
    }
}
