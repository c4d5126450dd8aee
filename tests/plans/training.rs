//! Plans of gradients: what they keep to.

use gatewave::kernel::RowLoss;
use gatewave::plan::lower::lower_gradients;
use gatewave::plan::{Gradients, LossTerm};

use super::*;

/// The plan of the weights' gradients of a call, by the sum of the squares of the output.
fn gradients_on(model: &Model, (time, batch): (usize, usize), limits: &Limits, target: Target) -> Result<Plan, Error> {
    let layout = Layout::for_training(model).expect("the model is right");
    let losses = vec![LossTerm { output: 0, logits: false, loss: RowLoss::SumOfSquares }];
    let wanted = Gradients { losses, weights: true, ..Gradients::default() };
    lower_gradients(model, &layout, Shape::new(time, batch, Mask::All), limits, &Tuning::of(target), &wanted)
}

#[test]
fn a_thousand_steps_of_wide_layers_train_within_the_limits_of_every_webgpu_device() {
    const GIB: u64 = 1 << 30;
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After), Cell::Gru(Reset::Before)] {
        let model = Model::new().layer(Recurrent::new(cell, 768, 768));
        for target in [Target::Software, Target::Gpu] {
            let plan = gradients_on(&model, (1024, 16), &Limits::WEBGPU, target);
            let plan = plan.unwrap_or_else(|error| panic!("{cell}: {error}"));
            check(&plan, &Limits::WEBGPU).unwrap_or_else(|error| panic!("{cell}: {error}"));
            assert_eq!(plan.shape.batch, 16);
            // A sequence takes 48 MiB; what is kept and all scratch together stay within what small devices have.
            let all = plan.bytes(|_| true);
            assert!(plan.kept_bytes() <= GIB && all <= 2 * GIB, "{cell}: {} and {all} bytes", plan.kept_bytes());
        }
    }
}
