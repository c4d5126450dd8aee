//! Random objectives and targets for the outputs of a call.

use gatewave::{
    BinaryCrossEntropy, CrossEntropy, Error, ErrorKind, Huber, Input, Loss, Model, Objective, Targets, Term, Weights,
    oracle,
};
use ndarray::{ArrayD, IxDyn};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::models::Draw;

/// A loss for each output that fits it, targets for each, some of them ignored, and sample weights for some.
pub(crate) fn draw(
    model: &Model,
    weights: &Weights,
    input: &Input,
    seed: u64,
) -> Result<(Objective, Vec<Targets>), Error> {
    let truth = oracle::run(model, weights, input)?;
    let shapes: Vec<Vec<usize>> =
        [&truth.output].into_iter().chain(&truth.others).map(|y| y.shape().to_vec()).collect();
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed ^ 0x10_55));
    // A softmax and a sigmoid each refuse the other's loss, and what is left may have no class that counts.
    for _ in 0..20 {
        let mut targets = Vec::new();
        let terms: Vec<_> =
            shapes.iter().enumerate().map(|(output, shape)| term(&mut draw, output, shape, &mut targets)).collect();
        let objective = Objective::of_terms(terms);
        match oracle::gradients(model, weights, input, &objective, &targets) {
            Ok(_) => return Ok((objective, targets)),
            Err(error) if error.kind() == ErrorKind::Model => {}
            Err(error) if error.to_string().contains("expected a class") => {}
            Err(error) => return Err(error),
        }
    }
    let terms = shapes.iter().enumerate().map(|(output, _)| Term { output, loss: Loss::SumOfSquares, weight: 0.5 });
    Ok((Objective::of_terms(terms), shapes.iter().map(|_| Targets::none()).collect()))
}

fn term(draw: &mut Draw, output: usize, shape: &[usize], targets: &mut Vec<Targets>) -> Term {
    let (rows, features) = (&shape[..shape.len() - 1], shape[shape.len() - 1]);
    let values = |draw: &mut Draw, least: f32, most: f32| {
        Targets::values(ArrayD::from_shape_simple_fn(IxDyn(shape), || draw.between(least, most)))
    };
    let (loss, mut target): (Loss, _) = match draw.below(7) {
        0 | 1 => {
            let mut loss = CrossEntropy::default();
            if draw.chance(3) {
                loss = loss.class_weights((0..features).map(|_| draw.between(0.0, 2.0)).collect::<Vec<_>>());
            }
            if draw.chance(3) {
                loss = loss.smoothing(draw.between(0.0, 0.5));
            }
            let mut class = || if draw.chance(5) { -100 } else { draw.below(features) as i64 };
            (loss.into(), Targets::classes(ArrayD::from_shape_simple_fn(IxDyn(rows), &mut class)))
        }
        2 => (BinaryCrossEntropy::default().smoothing(0.1).into(), values(draw, 0.0, 1.0)),
        3 => (Loss::MeanSquared, values(draw, -1.0, 1.0)),
        4 => (Loss::MeanAbsolute, values(draw, -1.0, 1.0)),
        5 => (Huber::default().delta(0.3).into(), values(draw, -1.0, 1.0)),
        _ => (Loss::SumOfSquares, Targets::none()),
    };
    if draw.chance(4) {
        target = target.sample_weights(ArrayD::from_shape_simple_fn(IxDyn(rows), || draw.between(0.0, 2.0)));
    }
    targets.push(target);
    Term { output, loss, weight: draw.between(0.2, 2.0) }
}
