//! The call that checks training: every kernel of the backward pass, and what the forward pass keeps for it.

use ndarray::Array2;

use super::{BATCH, FEW, HIDDEN as MANY, INPUT, KnownAnswer, TIME, numbers, with_states};
use crate::call::Input;
use crate::cell::{Activation, Cell, Reset};
use crate::dropout::Dropping;
use crate::engine::training_io::{Sorted, TrainingIo, loss_term};
use crate::error::Result;
use crate::kernel::Mask;
use crate::layout::Layout;
use crate::loss::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, Objective, Targets};
use crate::model::{Dropout, Embedding, Gru, Join, LayerNorm, Linear, Lstm, Model, Rnn, Value};
use crate::pack::pack;
use crate::plan::tune::{Target, Tuning};
use crate::plan::{Gradients, Limits, Shape, Strategy, lower};
use crate::weights::Weights;

/// One more than a panel.
const HIDDEN: usize = 17;
const WORDS: usize = 4;
const CLASSES: usize = 3;

impl KnownAnswer {
    /// Makes the call that checks training on a device of this kind: the losses and all
    /// gradients of one model. The model has every layer with a backward pass of its own. Rows
    /// end early, states are not zero, and time is cut into two chunks.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if the device cannot run even this.
    pub(in crate::engine) fn of_training(target: Target, limits: &Limits) -> Result<Self> {
        let model = model()?;
        let input = input(&model);
        Self::of_gradients((model, input), objective(), Strategy::Step, target, limits)
    }

    /// Makes the call that checks training by scans: every cell that can scan,
    /// with weights that are held and some that are not.
    ///
    /// # Errors
    ///
    /// As [`of_training`](Self::of_training).
    pub(in crate::engine) fn of_training_by_scans(target: Target, limits: &Limits) -> Result<Self> {
        let lstm = Lstm::new(INPUT, MANY).peepholes().bidirectional();
        let model = Model::new().layer(lstm).layer(Gru::new(2 * MANY, FEW)).layer(Rnn::new(FEW, CLASSES));
        let input = super::input(&model);
        let (losses, targets) = huber();
        Self::of_gradients((model, input), (Objective::from(losses), vec![targets]), Strategy::Scan, target, limits)
    }

    fn of_gradients(
        (model, input): (Model, Input),
        (objective, targets): (Objective, Vec<Targets>),
        strategy: Strategy,
        target: Target,
        limits: &Limits,
    ) -> Result<Self> {
        let tuning = Tuning::of(target).with_chunk_bytes(Some(0)).with_strategy(Some(strategy));
        let layout = Layout::for_training(&model)?;
        let packed = pack(&Weights::random(&model, 0)?, &model, &layout)?;
        let call = input.check(&model)?;
        let aims = objective.check(&model, &call, &targets)?;
        let losses = objective.terms().iter().zip(aims.iter().map(|aim| &aim.measured)).map(loss_term);
        let gradients = Gradients {
            losses: losses.collect(),
            weights: true,
            inputs: true,
            states: true,
            drops: true,
            ..Gradients::default()
        };
        let shape = Shape::new(TIME, BATCH, Mask::Live);
        let plan = lower::lower_gradients(&model, &layout, shape, limits, &tuning, &gradients)?;
        let mut sorted = Sorted::default();
        let mut io = TrainingIo::new((&call, &model, &layout), (&aims, &gradients), &mut sorted)?;
        io.dropping = Some(Dropping::new(1, 1));
        io.rows = 0..BATCH;
        let give = |write, words: &mut [u32]| crate::plan::HostIo::write(&mut io, write, words);
        Self::of_plan(layout.clone(), packed, plan, give)
    }
}

/// A model with every layer whose backward pass has a kernel of its own.
fn model() -> Result<Model> {
    let mut graph = Model::graph();
    let x = graph.sequence("x", INPUT);
    let tokens = graph.tokens("tokens", WORDS);
    let row = graph.row("row", INPUT);
    let embedded = graph.add("embedded", Embedding::new(WORDS, INPUT), tokens);
    // Each step takes the row, so its gradient is the sum over all steps.
    let together = graph.add("together", Join::Add, [x, embedded.y(), row]);
    let rnn = graph.add("rnn", Rnn::new(INPUT, HIDDEN), together);
    let lstm = graph.add("lstm", Lstm::new(HIDDEN, HIDDEN).peepholes().bidirectional(), rnn);
    let dropped = graph.add("dropped", Dropout::new(0.5), lstm);
    let after = graph.add("after", Gru::new(2 * HIDDEN, HIDDEN), dropped);
    // Its gates multiply copies.
    let dropping = Gru::new(HIDDEN, HIDDEN).recurrent_dropout(0.3).input_dropout(0.3);
    let before = graph.add("before", dropping.cell(Cell::Gru(Reset::Before)), after);
    let largest = graph.add("largest", Join::Maximum, [after.y(), before.y()]);
    let projected = graph.add("projected", Lstm::new(HIDDEN, HIDDEN).proj_size(CLASSES), largest);
    let normal = graph.add("normal", LayerNorm::new(HIDDEN), before);
    let shares = graph.add("shares", Activation::Softmax, normal);
    let mut output = |name: &str, from: Value, size: usize, activation: Activation| {
        let linear = graph.add(name, Linear::new(size, CLASSES).activation(activation), from);
        graph.output(name, linear);
    };
    output("classes", projected.y(), CLASSES, Activation::Linear);
    output("yes", shares.y(), HIDDEN, Activation::Linear);
    output("numbers", largest.y(), HIDDEN, Activation::Tanh);
    graph.finish()
}

/// Rows that end early, and the first token again and again.
fn input(model: &Model) -> Input<'static> {
    let live = Array2::from_shape_fn((BATCH, TIME), |(b, t)| t + 2 * b < TIME);
    let tokens = Array2::from_shape_fn((BATCH, TIME), |(b, t)| i64::from((b + t) % 2 == 1));
    let input = Input::features(numbers((BATCH, TIME, INPUT))).mask(live);
    with_states(model, input.with_tokens("tokens", tokens).with_features("row", numbers((BATCH, INPUT))))
}

/// A loss for each output, with a weight so large that gradients are numbers around 1.
fn objective() -> (Objective, Vec<Targets>) {
    let classes = Array2::from_shape_fn((BATCH, TIME), |(b, t)| if b == t { -100 } else { (b + t) as i64 % 3 });
    let yes = Targets::values(numbers((BATCH, TIME, CLASSES)).mapv(|x: f32| x.max(0.0)));
    let weighted = CrossEntropy::default().class_weights([1.0, 0.5, 2.0]).smoothing(0.1);
    let losses: [(Loss, Targets); 3] = [
        (weighted.into(), Targets::classes(classes)),
        (BinaryCrossEntropy::default().smoothing(0.1).into(), yes),
        huber(),
    ];
    let (mut terms, mut targets) = (Vec::new(), Vec::new());
    for (output, (loss, target)) in losses.into_iter().enumerate() {
        terms.push(crate::loss::Term { output, loss, weight: 20.0 });
        targets.push(target);
    }
    (Objective::of_terms(terms), targets)
}

/// The distance to some numbers.
fn huber() -> (Loss, Targets) {
    (Huber::default().delta(0.5).into(), Targets::values(numbers((BATCH, TIME, CLASSES))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::LARGEST;
    use super::*;
    use crate::kernel::{Kernel, link};

    const ANSWERS: [fn(Target, &Limits) -> Result<KnownAnswer>; 3] =
        [KnownAnswer::of_training, KnownAnswer::of_training_by_scans, KnownAnswer::of_update];

    #[test]
    fn every_cell_scans_there_and_back_with_weights_that_are_held_and_some_that_are_not() {
        for target in [Target::Software, Target::Gpu] {
            let answer = KnownAnswer::of_training_by_scans(target, &Limits::WEBGPU).unwrap();
            for kernel in [Kernel::Scan, Kernel::ScanBack] {
                let programs = answer.plan.programs.iter().filter(|program| program.kernel() == kernel);
                let held: BTreeSet<_> = programs.clone().filter_map(|p| Some(p.tile()?.held > 0)).collect();
                assert_eq!((programs.count(), held.len()), (3, 2), "{kernel:?}");
            }
            let steps = |kernel| matches!(kernel, Kernel::Step | Kernel::StepBack);
            assert!(!answer.plan.programs.iter().any(|program| steps(program.kernel())), "{}", answer.plan);
        }
    }

    #[test]
    fn every_kernel_of_training_is_in_the_check_on_every_target() {
        let of_training = link::programs().into_iter().filter(|program| program.training().is_some());
        let wanted: BTreeSet<_> = of_training.map(|program| program.kernel()).collect();
        assert!(wanted.len() > 15, "{wanted:?}");
        for target in [Target::Software, Target::Gpu] {
            let answers = ANSWERS.map(|of| of(target, &Limits::WEBGPU).unwrap());
            let programs = answers.iter().flat_map(|answer| &answer.plan.programs);
            let has: BTreeSet<_> = programs.map(|program| program.kernel()).collect();
            // Only plans for a software GPU use textures.
            let is_its = |kernel: &&Kernel| target == Target::Software || **kernel != Kernel::ToTexture;
            let missing: Vec<_> = wanted.difference(&has).filter(is_its).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    }

    #[test]
    fn a_hundredth_too_much_is_a_fault_in_every_slot_that_is_computed() {
        let answers = ANSWERS.map(|of| of(Target::Gpu, &Limits::WEBGPU).unwrap());
        for (answer, slot) in
            answers.iter().flat_map(|answer| (0..answer.expected.len()).map(move |slot| (answer, slot)))
        {
            let mut got = answer.expected.clone();
            let name = &answer.plan.slots[got[slot].0].name;
            let largest = got[slot].1.iter_mut().filter(|x| x.is_finite()).max_by(|a, b| a.abs().total_cmp(&b.abs()));
            let largest = largest.unwrap_or_else(|| panic!("nobody writes {name}"));
            // What a step hands to the one before it may be zero at the end.
            assert!(largest.abs() > *LARGEST.start() || *largest == 0.0, "{name} is at most {largest}");
            *largest = if *largest == 0.0 { 0.01 } else { *largest * 1.01 };
            let fault = answer.fault(&got).unwrap_or_else(|| panic!("{name} is not compared"));
            assert!(fault.starts_with(&format!("slot {name} ")), "{fault}");
        }
    }
}
