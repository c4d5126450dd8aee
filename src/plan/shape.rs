//! The sizes of a call: the batch, and the steps by each clock of a model.

use std::collections::HashMap;

use crate::kernel::Mask;
use crate::model::{Clocks, Model, OTHER_CLOCKS, TimeAxis};

/// The sizes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// T, the timesteps of the main input.
    pub time: usize,
    /// B, the batch.
    pub batch: usize,
    /// Whether rows differ in their live steps of the main input.
    pub mask: Mask,
    /// The steps of the model's other clocks, in order. A clock without an entry has the steps of the main input.
    pub others: OtherSteps,
}

/// The steps of a call by the clocks of its model, except the first clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OtherSteps([Option<Steps>; OTHER_CLOCKS]);

/// The steps of a call by one clock of its model: the length of a time axis, and its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Steps {
    /// T.
    pub time: usize,
    /// Whether rows differ in their live steps.
    pub mask: Mask,
}

impl Shape {
    /// Returns the shape of a call whose values all have `time` steps.
    pub fn new(time: usize, batch: usize, mask: Mask) -> Self {
        Self { time, batch, mask, others: OtherSteps::default() }
    }

    /// Returns the shape of a call of `model`. `time` gives the steps of each input, and every clock has `mask`.
    pub fn of_model(model: &Model, time: impl Fn(usize) -> usize, batch: usize, mask: Mask) -> Self {
        let clocks = Clocks::of(model);
        // Layers that slice or join steps come after the layers that they take.
        let mut known: HashMap<usize, usize> = HashMap::new();
        let of = |axis: TimeAxis, known: &HashMap<usize, usize>| match axis {
            TimeAxis::Input(input) => time(input),
            TimeAxis::Layer(layer) => known.get(&layer).copied().unwrap_or(0),
        };
        for layer in 0..model.layers.len() {
            let Some(sources) = clocks.of_pieces(model, layer) else { continue };
            let times = sources.iter().map(|clock| clock.map(|clock| of(clocks.all()[clock].axis, &known)));
            let pieces = model.layers[layer].kind.pieces(&times.collect::<Vec<_>>()).unwrap_or_default();
            known.insert(layer, pieces.iter().fold(0, |time: usize, (_, count)| time.saturating_add(*count)));
        }
        Self::of_clocks(batch, clocks.all().iter().map(|clock| Steps { time: of(clock.axis, &known), mask }))
    }

    /// Returns the shape of a call with these steps by the clocks of its model, in order.
    pub(crate) fn of_clocks(batch: usize, clocks: impl IntoIterator<Item = Steps>) -> Self {
        let mut clocks = clocks.into_iter();
        let Steps { time, mask } = clocks.next().unwrap_or(Steps { time: 1, mask: Mask::All });
        let mut shape = Self::new(time, batch, mask);
        shape.others.0.iter_mut().zip(clocks).for_each(|(other, steps)| *other = Some(steps));
        shape
    }

    /// Returns the steps of clock `clock`.
    pub(crate) fn steps(&self, clock: usize) -> Steps {
        let other = clock.checked_sub(1).and_then(|other| self.others.0.get(other).copied().flatten());
        other.unwrap_or(Steps { time: self.time, mask: self.mask })
    }

    /// Returns the steps of every clock that has its own.
    pub(crate) fn all_steps(&self) -> impl Iterator<Item = Steps> + '_ {
        [self.steps(0)].into_iter().chain(self.others.0.iter().copied().flatten())
    }
}
