//! Negative controls: the table's tolerance finds every bug planted
//! in the weights, and every option that an executor would ignore.

use gatewave::conformance::{self, Bug, Case, InitialStates, MaskKind, cases};
use gatewave::layer::{
    Bias, Coupling, Direction, Join, Layer, LayerKind, Merge, Padding, Peepholes, Recurrent, Reduce,
};
use gatewave::weights::LayerWeights;
use gatewave::{Activation, Model, Precision, Select, Weights, oracle};

use crate::as_output;

/// Whether there are units that no bias keeps on. Units that are off show nothing.
fn has_idle_units(case: &Case) -> bool {
    case.model.stacks().any(|stack| stack.functions[0].f == Activation::Relu && stack.bias == Bias::None)
}

#[test]
fn the_tables_tolerance_finds_every_planted_bug() {
    let (mut planted, mut missed) = ([0; Bug::ALL.len()], Vec::new());
    for case in cases() {
        for (count, bug) in planted.iter_mut().zip(Bug::ALL) {
            let hidden = match bug {
                // From zero, one step multiplies the recurrent weights by zero.
                Bug::RowOffByOne | Bug::ScaleOffByOne => {
                    case.time == 1 && case.states == InitialStates::Zero || has_idle_units(&case)
                }
                // A few weights may all happen to be near a half.
                Bug::RoundedToHalf => {
                    case.precision == Precision::F16 || case.model.stacks().any(|stack| stack.hidden_size < 8)
                }
                Bug::RoundedToIntegers => {
                    case.precision == Precision::I8 || case.model.stacks().any(|stack| stack.hidden_size < 8)
                }
                Bug::GatesSwapped | Bug::BiasDropped => false,
            };
            let weights = case.weights();
            let Some(wrong) = bug.plant(&case.model, &weights).filter(|_| !hidden) else { continue };
            let result = conformance::run(&case, &mut |case, _, _, _| Ok(as_output(&case.truth(&wrong)?)));
            if result.used() <= 10.0 {
                missed.push(format!("{bug:?}: {result}"));
            }
            *count += 1;
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert_eq!(planted, [294, 335, 345, 296, 311, 330]);
}

/// The removal of an option from a stack.
type Change = fn(&mut Recurrent);

/// Options that an executor could ignore.
const LEFT_OUT: [(&str, Change); 8] = [
    ("functions forward", |r| r.functions[0] = r.cell.functions()),
    ("functions in reverse", |r| r.functions[1] = r.cell.functions()),
    ("clip", |r| r.clip = None),
    ("coupling", |r| r.coupling = Coupling::Apart),
    ("peepholes", |r| r.peepholes = Peepholes::None),
    ("direction", |r| {
        if r.directions() == 1 {
            r.direction = Direction::Forward;
        }
    }),
    ("merge", |r| {
        r.merge = match r.merge {
            Merge::Concat => Merge::Concat,
            Merge::Sum => Merge::Product,
            _ => Merge::Sum,
        }
    }),
    ("padding", |r| r.padding = Padding::Zero),
];

/// Applies `change` to each stack of the model, and returns it with its weights; `None` if nothing changes.
fn without(model: &Model, weights: &Weights, change: Change) -> Option<(Model, Weights)> {
    let (mut other, mut weights) = (model.clone(), weights.clone());
    for (layer, weights) in other.layers.iter_mut().zip(&mut weights.layers) {
        if let (LayerKind::Recurrent(stack), LayerWeights::Recurrent(cells)) = (&mut layer.kind, weights) {
            change(stack);
            if stack.peepholes == Peepholes::None {
                cells.iter_mut().for_each(|cell| cell.peepholes = None);
            }
        }
    }
    (other != *model).then_some((other, weights))
}

/// Returns the distance of the true results from those of another model, as a part of the tolerance.
fn used_by(case: &Case, model: &Model, weights: &Weights) -> f64 {
    let weights = conformance::rounded(weights, case.precision).expect("weights are finite");
    let result = conformance::run(case, &mut |_, _, _, input| Ok(as_output(&oracle::run(model, &weights, &input)?)));
    assert!(result.outcome.is_ok(), "{result}");
    result.used()
}

/// Whether another option hides this one: padding with only live steps, functions of
/// a direction that a stack does not have, a merge of outputs that nothing takes.
fn is_hidden(case: &Case, option: &str) -> bool {
    match option {
        "merge" => case.model.layers.iter().any(|layer| layer.kind == LayerKind::Select(Select::FinalHidden)),
        // The smallest live number is below zero, so that zeros change nothing.
        "padding" => {
            let of_smallest =
                |layer: &Layer| matches!(layer.kind, LayerKind::GlobalPool(pool) if pool.reduce == Reduce::Min);
            case.mask == MaskKind::All || case.model.layers.iter().any(of_smallest)
        }
        "functions in reverse" => case.model.stacks().all(|stack| stack.directions() == 1),
        _ => false,
    }
}

#[test]
fn the_tables_tolerance_finds_every_option_left_out() {
    let (mut left_out, mut missed) = ([0; LEFT_OUT.len()], Vec::new());
    for case in cases() {
        let weights = case.weights();
        for (count, (option, change)) in left_out.iter_mut().zip(LEFT_OUT) {
            let Some((model, weights)) = without(&case.model, &weights, change) else { continue };
            if is_hidden(&case, option) {
                continue;
            }
            let used = used_by(&case, &model, &weights);
            if used <= 10.0 {
                missed.push(format!("{option}: {}: {used}", case.name));
            }
            *count += 1;
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert_eq!(left_out, [42, 33, 8, 5, 11, 22, 18, 30]);
}

#[test]
fn the_tables_tolerance_finds_a_mask_of_the_models_own_left_out() {
    let mut left_out = 0;
    for case in cases().into_iter().filter(|case| case.mask != MaskKind::All) {
        let mut model = case.model.clone();
        for layer in &mut model.layers {
            match &mut layer.kind {
                LayerKind::Embedding(embedding) => embedding.mask_token = None,
                LayerKind::Masking(masking) => masking.value = f32::NAN.into(),
                _ => {}
            }
        }
        if model != case.model {
            assert!(used_by(&case, &model, &case.weights()) > 10.0, "{}", case.name);
            left_out += 1;
        }
    }
    assert_eq!(left_out, 16);
}

#[test]
fn the_tables_tolerance_finds_one_peephole_lost() {
    let mut lost = 0;
    for case in cases() {
        for row in 0..3 {
            let mut wrong = case.weights();
            let stacks = wrong.layers.iter_mut().filter_map(|layer| match layer {
                LayerWeights::Recurrent(cells) => cells.last_mut(),
                _ => None,
            });
            let Some(peepholes) = stacks.last().and_then(|cell| cell.peepholes.as_mut()) else { continue };
            let last = peepholes.ncols() - 1;
            peepholes[[row, last]] = 0.0;
            let unused = row == 1 && case.model.stacks().any(|stack| stack.coupling == Coupling::InputForget);
            let used = used_by(&case, &case.model, &wrong);
            assert!(if unused { used < 0.1 } else { used > 10.0 }, "row {row} of {}: {used}", case.name);
            lost += 1;
        }
    }
    assert_eq!(lost, 33);
}

/// A mistake in a join.
type Mistake = fn(&mut Layer);

/// Mistakes that an executor could make in a join.
const MISTAKEN: [(&str, Mistake); 4] = [
    ("the first two values have changed places", |layer| {
        if let LayerKind::Join(Join::Subtract | Join::Concat) = layer.kind {
            layer.from.swap(0, 1);
        }
    }),
    ("the last value is the first again", |layer| {
        if let (Some(last), Some(&first)) = (layer.from.len().checked_sub(1), layer.from.first()) {
            layer.from[last] = first;
        }
    }),
    ("the last value is left out", |layer| {
        if layer.from.len() > 2 {
            layer.from.pop();
        }
    }),
    ("another join", |layer| {
        layer.kind = LayerKind::Join(match layer.kind {
            LayerKind::Join(Join::Add) => Join::Average,
            LayerKind::Join(Join::Average | Join::Subtract) => Join::Add,
            LayerKind::Join(Join::Multiply) => Join::Maximum,
            LayerKind::Join(Join::Maximum) => Join::Multiply,
            _ => return,
        });
    }),
];

/// Returns the shapes of the results of `model` for the input of `case`.
fn shapes(case: &Case, model: &Model) -> Vec<Vec<usize>> {
    let truth = oracle::run(model, &case.weights(), &case.input()).expect("a model that fits");
    [&truth.output].into_iter().chain(&truth.others).map(|output| output.shape().to_vec()).collect()
}

#[test]
fn the_tables_tolerance_finds_every_mistake_in_a_join() {
    let (mut mistaken, mut missed) = ([0; MISTAKEN.len()], Vec::new());
    for case in cases() {
        let joins = (0..case.model.layers.len()).filter(|&at| matches!(case.model.layers[at].kind, LayerKind::Join(_)));
        for at in joins {
            for (count, (mistake, change)) in mistaken.iter_mut().zip(MISTAKEN) {
                let mut model = case.model.clone();
                change(&mut model.layers[at]);
                // A model with an unused input, or with sizes that differ, is no silent mistake.
                let fits = model.check().is_ok() && model.flows().ok() == case.model.flows().ok();
                if model == case.model || !fits || shapes(&case, &model) != shapes(&case, &case.model) {
                    continue;
                }
                let used = used_by(&case, &model, &case.weights());
                if used <= 10.0 {
                    missed.push(format!("{mistake}: layer {at} of {}: {used}", case.name));
                }
                *count += 1;
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert_eq!(mistaken, [27, 53, 7, 50]);
}
