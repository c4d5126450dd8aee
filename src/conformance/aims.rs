//! Random objectives and targets for the outputs of a call.

use ndarray::{ArrayD, IxDyn};

use super::draw::Draw;
use crate::call::Input;
use crate::error::{ErrorKind, Result};
use crate::loss::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, Objective, Targets, Term, shapes};
use crate::model::Model;

/// Makes these numbers differ from those of the weights and of the input.
const APART: u64 = 0x10_55;

/// The number of losses to try before taking one that fits any output. A softmax and a
/// sigmoid each refuse the other's loss, and the remaining one may have no class that counts.
const TRIES: usize = 20;

/// Draws a fitting loss for each output of `model` from `seed`, and targets
/// for each. Some targets are ignored, and some outputs have sample weights.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`] if the layers do not fit each other.
/// Returns an error of kind [`ErrorKind::Shape`] if the input does not fit the model.
pub fn objective(model: &Model, input: &Input, seed: u64) -> Result<(Objective, Vec<Targets>)> {
    let call = input.check(model)?;
    let shapes = shapes(model, &call)?;
    let mut draw = Draw::new(seed ^ APART);
    for _ in 0..TRIES {
        let drawn = shapes.iter().enumerate().map(|(output, shape)| term(&mut draw, output, shape));
        let (terms, targets): (Vec<_>, Vec<_>) = drawn.unzip();
        let objective = Objective::of_terms(terms);
        match objective.check(model, &call, &targets) {
            Ok(_) => return Ok((objective, targets)),
            Err(error) if error.kind() == ErrorKind::Model => {}
            Err(error) if error.to_string().contains("expected a class") => {}
            Err(error) => return Err(error),
        }
    }
    let terms = (0..shapes.len()).map(|output| Term { output, loss: Loss::SumOfSquares, weight: 0.5 });
    Ok((Objective::of_terms(terms), shapes.iter().map(|_| Targets::none()).collect()))
}

fn term(draw: &mut Draw, output: usize, shape: &[usize]) -> (Term, Targets) {
    let (rows, features) = (&shape[..shape.len() - 1], shape[shape.len() - 1]);
    let values = |draw: &mut Draw, least: f32, most: f32| {
        Targets::values(ArrayD::from_shape_simple_fn(IxDyn(shape), || draw.between(least, most)))
    };
    let (loss, mut targets): (Loss, _) = match draw.below(7) {
        // With only one class there is nothing to learn.
        0 | 1 if features > 1 => {
            let mut loss = CrossEntropy::default();
            if draw.chance(3) {
                loss = loss.class_weights((0..features).map(|_| draw.between(0.0, 2.0)).collect::<Vec<_>>());
            }
            if draw.chance(3) {
                loss = loss.smoothing(draw.between(0.0, 0.5));
            }
            let ignored = loss.ignore;
            let mut class = || {
                let class = i64::try_from(draw.below(features)).expect("few classes");
                if draw.chance(5) { ignored } else { class }
            };
            (loss.into(), Targets::classes(ArrayD::from_shape_simple_fn(IxDyn(rows), &mut class)))
        }
        2 => (BinaryCrossEntropy::default().smoothing(0.1).into(), values(draw, 0.0, 1.0)),
        3 => (Loss::MeanSquared, values(draw, -1.0, 1.0)),
        4 => (Loss::MeanAbsolute, values(draw, -1.0, 1.0)),
        5 => (Huber::default().delta(0.3).into(), values(draw, -1.0, 1.0)),
        _ => (Loss::SumOfSquares, Targets::none()),
    };
    if draw.chance(4) {
        targets = targets.sample_weights(ArrayD::from_shape_simple_fn(IxDyn(rows), || draw.between(0.0, 2.0)));
    }
    (Term { output, loss, weight: draw.between(0.2, 2.0) }, targets)
}
