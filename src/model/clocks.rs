//! Clocks: the time axis of each value of a model, and what takes steps out of it.
//!
//! Each input of steps has a time axis of its own. Values that meet in a join share one. A layer that masks takes steps out
//! of what comes from it, and of nothing else. Knows edges; knows no call and no sizes.

use super::Model;
use super::graph::{Pin, Value};
use super::layer::{Embedding, LayerKind, Select};
use crate::error::{Error, ErrorKind, Result};

/// The most clocks that a model may have: a call's sizes hold a number of steps for each.
pub(crate) const MOST_CLOCKS: usize = 1 + OTHER_CLOCKS;

/// The most beside the first.
pub(crate) const OTHER_CLOCKS: usize = 7;

/// A time axis, and the layers that take steps out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// The input of the model that tells the number of steps.
    pub(crate) input: usize,
    /// The layers that take steps out by what their input holds, ascending.
    pub(crate) masking: Vec<usize>,
}

/// The clocks of a model, and which values go by which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// The first is that of the first stack on the main input's time axis.
    all: Vec<Clock>,
    /// Of each input: the clock of its own steps.
    inputs: Vec<Option<usize>>,
    /// Of each input: the clock by which the caller's features are read. A step that it has not is zero.
    read: Vec<Option<usize>>,
    /// Of what each layer gives.
    layers: Vec<Option<usize>>,
}

impl Clocks {
    /// The clocks of `model`, whose edges have been checked.
    pub(crate) fn of(model: &Model) -> Self {
        let mut axes = Axes::of(model);
        // Joins make axes one before any is named.
        let mut given: Vec<Option<Clock>> = Vec::with_capacity(model.layers.len());
        for index in 0..model.layers.len() {
            given.push(axes.given(model, index, &given));
        }
        let mut named = |clock: &mut Clock| clock.input = axes.leader(clock.input);
        given.iter_mut().flatten().for_each(&mut named);
        let own: Vec<Option<Clock>> = (0..axes.parents.len())
            .map(|input| axes.has_time(input).then(|| Clock { input: axes.leader(input), masking: Vec::new() }))
            .collect();
        let of = |value: Value| match value {
            Value::Input(input) => own.get(input).cloned().flatten(),
            Value::Layer(layer, Pin::Output) => given.get(layer).cloned().flatten(),
            Value::Layer(..) => None,
        };
        let main = model.main_input();
        let first_stack = model.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Recurrent(_)));
        let mut stacks = first_stack.filter_map(|layer| of(*layer.from.first()?));
        let first = stacks.find(|clock| clock.input == main).or_else(|| own.get(main).cloned().flatten());
        let mut all: Vec<Clock> = first.into_iter().collect();
        let mut place = |clock: &Option<Clock>| {
            let clock = clock.as_ref()?;
            Some(all.iter().position(|other| other == clock).unwrap_or_else(|| {
                all.push(clock.clone());
                all.len() - 1
            }))
        };
        let layers: Vec<_> = given.iter().map(&mut place).collect();
        let inputs: Vec<_> = own.iter().map(&mut place).collect();
        let read = inputs.iter().enumerate().map(|(input, own)| match masked_only(model, input) {
            Some(layer) => layers[layer],
            None => *own,
        });
        let read = read.collect();
        Self { all, inputs, read, layers }
    }

    /// Whether a call can hold the clocks of `model`.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where there are more than [`MOST_CLOCKS`].
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

    /// All of them, in their order.
    pub(crate) fn all(&self) -> &[Clock] {
        &self.all
    }

    /// That of `value`, where it has a time axis.
    pub(crate) fn of_value(&self, value: Value) -> Option<usize> {
        match value {
            Value::Input(input) => self.inputs.get(input).copied().flatten(),
            Value::Layer(layer, Pin::Output) => self.layers.get(layer).copied().flatten(),
            Value::Layer(..) => None,
        }
    }

    /// That by which the features or tokens of an input are read, where it has a time axis.
    pub(crate) fn of_read(&self, input: usize) -> Option<usize> {
        self.read.get(input).copied().flatten()
    }

    /// The input that tells the number of steps of `input`, where it has a time axis.
    pub(crate) fn leader(&self, input: usize) -> Option<usize> {
        self.of_value(Value::Input(input)).map(|clock| self.all[clock].input)
    }

    /// The clocks that the stacks of `model` go by, in order.
    pub(crate) fn of_stacks<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = usize> + 'a {
        let stacks = model.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Recurrent(_)));
        stacks.map(|layer| layer.from.first().and_then(|&from| self.of_value(from)).unwrap_or(0))
    }
}

/// Which inputs share a time axis.
struct Axes {
    /// Of each input another one of its axis, the leader itself; none of one without a time axis.
    parents: Vec<Option<usize>>,
    main: usize,
}

impl Axes {
    fn of(model: &Model) -> Self {
        let has_time = |index: usize| model.inputs.get(index).is_none_or(|input| input.kind.has_time());
        let parents = (0..model.inputs.len().max(1)).map(|index| has_time(index).then_some(index)).collect();
        Self { parents, main: model.main_input() }
    }

    fn has_time(&self, input: usize) -> bool {
        self.parents.get(input).is_some_and(Option::is_some)
    }

    fn leader(&self, mut input: usize) -> usize {
        while let Some(parent) = self.parents[input].filter(|&parent| parent != input) {
            input = parent;
        }
        input
    }

    /// Makes two axes one: the main input leads its own, else the earlier one.
    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.leader(a), self.leader(b));
        let (leader, other) = if b == self.main || b < a && a != self.main { (b, a) } else { (a, b) };
        self.parents[other] = Some(leader);
    }

    /// The clock of what layer `index` gives; `given` are those of the layers before it. The input may be any of its axis.
    fn given(&mut self, model: &Model, index: usize, given: &[Option<Clock>]) -> Option<Clock> {
        let layer = &model.layers[index];
        let of = |value: &Value| match *value {
            Value::Input(input) => self.has_time(input).then(|| Clock { input, masking: Vec::new() }),
            Value::Layer(layer, Pin::Output) => given.get(layer).cloned().flatten(),
            Value::Layer(..) => None,
        };
        let mut taken = layer.from.iter().filter_map(of).collect::<Vec<_>>().into_iter();
        if let LayerKind::Select(Select::LastStep | Select::FinalHidden | Select::LastOutput) = layer.kind {
            return None;
        }
        let mut clock = taken.next()?;
        for other in taken {
            self.unite(clock.input, other.input);
            clock.masking.extend(other.masking);
        }
        clock.masking.extend(masks(&layer.kind).then_some(index));
        clock.masking.sort_unstable();
        clock.masking.dedup();
        Some(clock)
    }
}

/// Whether a layer takes steps out by what it is given.
pub(super) fn masks(kind: &LayerKind) -> bool {
    matches!(kind, LayerKind::Masking(_) | LayerKind::Embedding(Embedding { mask_token: Some(_), .. }))
}

/// The layer that masks by features of `input`, where it alone takes them.
fn masked_only(model: &Model, input: usize) -> Option<usize> {
    let mut takers = model.layers.iter().enumerate().filter(|(_, layer)| layer.from.contains(&Value::Input(input)));
    let (index, first) = takers.next()?;
    (takers.next().is_none() && matches!(first.kind, LayerKind::Masking(_))).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Gru, Join, Linear, Lstm, Masking, State};

    fn clock(input: usize, masking: &[usize]) -> Clock {
        Clock { input, masking: masking.to_vec() }
    }

    #[test]
    fn a_chain_has_one_and_that_of_its_mask() {
        let model = Model::new().layer(Lstm::new(2, 3)).layer(Linear::new(3, 1));
        assert_eq!(Clocks::of(&model).all(), [clock(0, &[])]);
        let model = Model::new().layer(Embedding::new(9, 2).mask_token(0)).layer(Lstm::new(2, 3));
        let clocks = Clocks::of(&model);
        assert_eq!(clocks.all(), [clock(0, &[0]), clock(0, &[])], "that of the stack is the first");
        assert_eq!((clocks.of_read(0), clocks.of_value(Value::Input(0))), (Some(1), Some(1)));
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
