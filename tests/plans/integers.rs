//! Plans with weights in 8-bit integers: what is bound, and how little.

use super::*;

fn plan_of(model: &Model, precision: Precision, target: Target) -> Plan {
    let tuning = fixed_to(Strategy::Step, target);
    let layout = Layout::of(model, precision).expect("the model is right").with_medium(tuning.medium());
    lower(model, &layout, Shape::new(3, 2, Mask::All), &Limits::WEBGPU, &tuning).expect("it fits")
}

#[test]
fn golden_integers() {
    let model = Model::new().layer(Embedding::new(65, 7)).layer(Lstm::new(7, 20).peepholes()).layer(Linear::new(20, 5));
    assert_golden("integers", &plan_of(&model, Precision::I8, Target::Gpu));
}

#[test]
fn weights_take_a_quarter_as_integers_but_for_scales_and_biases() {
    let model = Model::new().layer(Lstm::new(512, 512).num_layers(2)).layer(Linear::new(512, 64));
    let bytes =
        |precision, target| plan_of(&model, precision, target).bytes(|kind| matches!(kind, SlotKind::Weights(_)));
    for target in [Target::Host, Target::Software, Target::Gpu] {
        let [floats, halves, integers] =
            [Precision::F32, Precision::F16, Precision::I8].map(|precision| bytes(precision, target));
        let rows = 4 * (2 * 4 * 2 * 512 + 64);
        assert_eq!((halves, integers), (floats / 2, (floats - rows) / 4 + 2 * rows), "{target:?}");
    }
}
