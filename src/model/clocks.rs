//! Clocks: the time axis of each value of a model, and the layers that take steps out of it.
//!
//! Each input with steps has a time axis of its own. So has each layer that slices, joins or makes steps.
//! Values that meet in a join of features share one. A masking layer takes steps out of its own
//! output and what follows from it, and of nothing else. Knows edges; knows no call and no sizes.

use std::collections::HashMap;

use super::Model;
use super::graph::{Pin, Value};
use super::layer::{Embedding, LayerKind, Scores};
use crate::error::{Error, ErrorKind, Result};

/// The most clocks that a model may have. The sizes of a call hold a number of steps for each.
pub(crate) const MOST_CLOCKS: usize = 1 + OTHER_CLOCKS;

/// The most clocks besides the first.
pub(crate) const OTHER_CLOCKS: usize = 15;

/// Where the number of steps of a time axis comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TimeAxis {
    /// An input of the model.
    Input(usize),
    /// A layer that slices, joins or makes steps.
    Layer(usize),
}

/// A time axis, and the layers that take steps out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Where the number of steps comes from.
    pub(crate) axis: TimeAxis,
    /// The layers that mask steps by the contents of their input, and those that slice or join steps; ascending.
    pub(crate) masking: Vec<usize>,
}

/// The clocks of a model, and the clock of each value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// The first is the clock of the first stack on the main input's time axis.
    all: Vec<Clock>,
    /// The clock of each input's own steps.
    inputs: Vec<Option<usize>>,
    /// The clock by which the caller's features of each input are read. A step that it lacks is read as zero.
    read: Vec<Option<usize>>,
    /// The clock of each layer's output.
    layers: Vec<Option<usize>>,
}

impl Clocks {
    /// Finds the clocks of `model`, whose edges have been checked.
    pub(crate) fn of(model: &Model) -> Self {
        let mut axes = Axes::of(model);
        // Joins unite axes before any axis gets its place.
        let mut given: Vec<Option<Clock>> = Vec::with_capacity(model.layers.len());
        for index in 0..model.layers.len() {
            given.push(axes.given(model, index, &given));
        }
        given.iter_mut().flatten().for_each(|clock| clock.axis = axes.leader(clock.axis));
        let own = |input| axes.has_time(input).then(|| Clock::of(axes.leader(TimeAxis::Input(input))));
        let own: Vec<Option<Clock>> = (0..axes.inputs).map(own).collect();
        let of = |value: Value| match value {
            Value::Input(input) => own.get(input).cloned().flatten(),
            Value::Layer(layer, Pin::Output) => given.get(layer).cloned().flatten(),
            Value::Layer(..) => None,
        };
        let main = model.main_input();
        let first_stack = model.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Recurrent(_)));
        let mut stacks = first_stack.filter_map(|layer| of(*layer.from.first()?));
        let first =
            stacks.find(|clock| clock.axis == TimeAxis::Input(main)).or_else(|| own.get(main).cloned().flatten());
        let mut all: Vec<Clock> = first.into_iter().collect();
        let mut place = |clock: &Option<Clock>| {
            let clock = clock.as_ref()?;
            Some(all.iter().position(|other| other == clock).unwrap_or_else(|| {
                all.push(clock.clone());
                all.len() - 1
            }))
        };
        let layers: Vec<_> = given.iter().map(&mut place).collect();
        // An input that only masking layers take has the clock of their output.
        let of_input = |(input, own): (usize, &Option<Clock>)| match masks_of(model, input) {
            Some(layer) => layers[layer],
            None => place(own),
        };
        let inputs: Vec<_> = own.iter().enumerate().map(of_input).collect();
        let read = inputs.iter().enumerate().map(|(input, own)| match masked_only(model, input) {
            Some(layer) => layers[layer],
            None => *own,
        });
        let read = read.collect();
        Self { all, inputs, read, layers }
    }

    /// Checks that a call can hold the clocks of `model`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`] if there are more than [`MOST_CLOCKS`].
    pub(super) fn check(&self) -> Result<()> {
        if self.all.len() <= MOST_CLOCKS {
            return Ok(());
        }
        let text = format!(
            "expected at most {MOST_CLOCKS} time axes, counted with each way to mask them, got {}",
            self.all.len()
        );
        Err(Error::new(ErrorKind::Model, text))
    }

    /// Returns all clocks, in their order.
    pub(crate) fn all(&self) -> &[Clock] {
        &self.all
    }

    /// Returns the clock of `value`, if it has a time axis.
    pub(crate) fn of_value(&self, value: Value) -> Option<usize> {
        match value {
            Value::Input(input) => self.inputs.get(input).copied().flatten(),
            Value::Layer(layer, Pin::Output) => self.layers.get(layer).copied().flatten(),
            Value::Layer(..) => None,
        }
    }

    /// Returns the clock by which the features or tokens of an input are read, if it has a time axis.
    pub(crate) fn of_read(&self, input: usize) -> Option<usize> {
        self.read.get(input).copied().flatten()
    }

    /// Returns the input that decides the number of steps of `input`, if it has a time axis.
    pub(crate) fn leader(&self, input: usize) -> Option<usize> {
        self.input_of(Value::Input(input))
    }

    /// Returns the input that decides the number of steps of `value`, if there is one.
    pub(crate) fn input_of(&self, value: Value) -> Option<usize> {
        match self.all[self.of_value(value)?].axis {
            TimeAxis::Input(input) => Some(input),
            TimeAxis::Layer(_) => None,
        }
    }

    /// Returns the clocks of the values that layer `layer` slices or
    /// joins; a row has none. Returns `None` for any other layer.
    pub(crate) fn of_pieces(&self, model: &Model, layer: usize) -> Option<Vec<Option<usize>>> {
        let of = model.layers.get(layer)?;
        of.kind.pieces(&[])?;
        Some(of.from.iter().map(|&value| self.of_value(value)).collect())
    }

    /// Returns the clock of each stack of `model`, in order.
    pub(crate) fn of_stacks<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = usize> + 'a {
        let stacks = model.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Recurrent(_)));
        stacks.map(|layer| layer.from.first().and_then(|&from| self.of_value(from)).unwrap_or(0))
    }
}

impl Clock {
    /// Creates the clock of all steps of an axis.
    fn of(axis: TimeAxis) -> Self {
        Self { axis, masking: Vec::new() }
    }
}

/// Which time axes are the same.
struct Axes {
    main: usize,
    inputs: usize,
    /// Whether each input has a time axis.
    has_time: Vec<bool>,
    /// For each axis that is the same as another: that other.
    parents: HashMap<TimeAxis, TimeAxis>,
}

impl Axes {
    fn of(model: &Model) -> Self {
        let inputs = model.inputs.len().max(1);
        let has_time = |index: usize| model.inputs.get(index).is_none_or(|input| input.kind.has_time());
        let has_time = (0..inputs).map(has_time).collect();
        Self { main: model.main_input(), inputs, has_time, parents: HashMap::new() }
    }

    fn has_time(&self, input: usize) -> bool {
        self.has_time.get(input).copied().unwrap_or(false)
    }

    fn leader(&self, mut axis: TimeAxis) -> TimeAxis {
        while let Some(&parent) = self.parents.get(&axis) {
            axis = parent;
        }
        axis
    }

    /// Unites two axes. The main input leads its own axis, else the earlier input leads, else the earlier layer.
    fn unite(&mut self, a: TimeAxis, b: TimeAxis) {
        let (a, b) = (self.leader(a), self.leader(b));
        if a == b {
            return;
        }
        let main = TimeAxis::Input(self.main);
        let (leader, other) = if b == main || b < a && a != main { (b, a) } else { (a, b) };
        self.parents.insert(other, leader);
    }

    /// Returns the clock of layer `index`'s output. `given` are the clocks of
    /// the layers before it. The axis may be any of those that are the same.
    fn given(&mut self, model: &Model, index: usize, given: &[Option<Clock>]) -> Option<Clock> {
        let layer = &model.layers[index];
        if layer.kind.ends_steps() {
            return None;
        }
        if layer.kind.pieces(&[]).is_some() {
            return Some(Clock { axis: TimeAxis::Layer(index), masking: vec![index] });
        }
        let of = |value: &Value| match *value {
            Value::Input(input) => self.has_time(input).then(|| Clock::of(TimeAxis::Input(input))),
            Value::Layer(layer, Pin::Output) => given.get(layer).cloned().flatten(),
            Value::Layer(..) => None,
        };
        if let LayerKind::Attention(attention) = &layer.kind {
            let (value, key) = attention.places(layer.from.len());
            let clocks: Vec<_> = layer.from.iter().map(of).collect();
            if let [Some(value), Some(key)] = [value, key].map(|at| clocks.get(at).cloned().flatten()) {
                self.unite(value.axis, key.axis);
            }
            // Given scores have no query.
            return clocks.into_iter().next().flatten().filter(|_| attention.scores != Scores::Given);
        }
        let mut taken = layer.from.iter().filter_map(of).collect::<Vec<_>>().into_iter();
        let mut clock = taken.next()?;
        for other in taken {
            self.unite(clock.axis, other.axis);
            clock.masking.extend(other.masking);
        }
        clock.masking.extend(masks(&layer.kind).then_some(index));
        clock.masking.sort_unstable();
        clock.masking.dedup();
        Some(clock)
    }
}

/// Whether a layer masks steps by the contents of its input.
pub(super) fn masks(kind: &LayerKind) -> bool {
    matches!(kind, LayerKind::Masking(_) | LayerKind::Embedding(Embedding { mask_token: Some(_), .. }))
}

/// Returns the first layer that takes `input`, if all layers that take it mask by it.
fn masks_of(model: &Model, input: usize) -> Option<usize> {
    let consumers =
        || model.layers.iter().enumerate().filter(move |(_, layer)| layer.from.contains(&Value::Input(input)));
    let (first, _) = consumers().next()?;
    consumers().all(|(_, layer)| masks(&layer.kind)).then_some(first)
}

/// Returns the layer that masks by features of `input`, if no other layer takes that input.
fn masked_only(model: &Model, input: usize) -> Option<usize> {
    let mut consumers = model.layers.iter().enumerate().filter(|(_, layer)| layer.from.contains(&Value::Input(input)));
    let (index, first) = consumers.next()?;
    (consumers.next().is_none() && matches!(first.kind, LayerKind::Masking(_))).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Gru, Join, Linear, Lstm, Masking, State};

    fn clock(input: usize, masking: &[usize]) -> Clock {
        Clock { axis: TimeAxis::Input(input), masking: masking.to_vec() }
    }

    #[test]
    fn a_chain_has_one_and_that_of_its_mask() {
        let model = Model::new().layer(Lstm::new(2, 3)).layer(Linear::new(3, 1));
        assert_eq!(Clocks::of(&model).all(), [clock(0, &[])]);
        let model = Model::new().layer(Embedding::new(9, 2).mask_token(0)).layer(Lstm::new(2, 3));
        let clocks = Clocks::of(&model);
        assert_eq!(clocks.all(), [clock(0, &[0])]);
        assert_eq!((clocks.of_read(0), clocks.of_value(Value::Input(0))), (Some(0), Some(0)));
        let model = Model::new().layer(Masking::new(2, 0.0)).layer(Lstm::new(2, 3));
        assert_eq!(Clocks::of(&model).of_read(0), Some(0), "what the mask takes out is not read");
    }

    #[test]
    fn what_meets_shares_a_time_axis_and_loses_the_steps_of_each() {
        let mut g = Model::graph();
        let [a, b, c] = ["a", "b", "c"].map(|name| g.sequence(name, 3));
        let masked = g.add("masked", Masking::new(3, 0.0), c);
        let first = g.add("first", Gru::new(3, 4), b);
        let second = g.add("second", Gru::new(3, 4), a);
        let third = g.add("third", Gru::new(3, 4), masked);
        g.begin(second, State::Hidden, first.hidden());
        let sum = g.add("sum", Join::Add, [second, third]);
        g.output("y", sum);
        let model = g.finish().unwrap();
        let clocks = Clocks::of(&model);
        assert_eq!(clocks.all(), [clock(0, &[]), clock(0, &[0]), clock(1, &[])]);
        assert_eq!(clocks.of_stacks(&model).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!((clocks.leader(2), clocks.leader(1)), (Some(0), Some(1)));
        assert_eq!(clocks.of_value(sum.y()), Some(1));
    }
}
