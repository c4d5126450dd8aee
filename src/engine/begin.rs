//! What streams are given once: rows of features that meet each of their frames, and initial states.
//!
//! Initial states that are values of the model are computed here as well, by a plan of their own, for the streams that
//! begin. Knows rows of the batch; knows no frame.

use std::ops::{Deref, Range};

use ndarray::{Array1, ArrayD, ArrayView3, IxDyn};

use crate::call::{Batching, Form, Sequence, States, batched, check_states};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Mask;
use crate::model::{Dim, Flow, InputValue, Model, State};
use crate::named::{NamedTensors, Values, read_input};
use crate::plan::{Feed, Goal, HostIo, Plan, Read, Shape, StateRow, Write};

use super::Engine;
use super::forward::Forward;
use super::push::output_of;
use super::streams::{StreamId, Streams, shape};
use super::tiles::{Tile, Tiles};

/// What streams were given once, by row of the batch.
#[derive(Default)]
pub(super) struct Begun {
    /// `[rows][features]` of the inputs without a time axis, and `[rows][inputs]`: which of them were set.
    rows: Vec<f32>,
    is_set: Vec<bool>,
    /// The states of the model, in the order of [`Plan::states`].
    states: Vec<Feed>,
    /// States that rows were given since the last run.
    given: Vec<(usize, Feed, Vec<f32>)>,
}

impl Begun {
    /// Makes room for `capacity` rows.
    pub(super) fn extend(&mut self, capacity: usize, forward: &Forward) {
        self.rows.resize(capacity * forward.row_width(), 0.0);
        self.is_set.resize(capacity * forward.rows.len(), false);
    }

    /// Learns the states of the model from a plan.
    pub(super) fn know(&mut self, plan: &Plan) {
        self.states = plan.states().map(|(write, _)| write.feed).collect();
    }

    /// Row `row` of the batch goes to another stream.
    pub(super) fn forget(&mut self, row: usize, forward: &Forward) {
        let inputs = forward.rows.len();
        self.is_set[row * inputs..][..inputs].fill(false);
        self.forget_states(row);
    }

    /// Row `row` of the batch begins again.
    pub(super) fn forget_states(&mut self, row: usize) {
        self.given.retain(|(other, ..)| *other != row);
    }

    /// The features that each row was given, `[rows][features]`.
    pub(super) fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// Checks that each of `streams` was given all inputs without a time axis.
    pub(super) fn check(&self, mut streams: impl Iterator<Item = StreamId>, forward: &Forward) -> Result<()> {
        let inputs = forward.rows.len();
        if inputs == 0 {
            return Ok(());
        }
        let lacks = |stream: StreamId| self.is_set[stream.row() * inputs..][..inputs].iter().position(|is_set| !is_set);
        match streams.find_map(|stream| Some((stream, lacks(stream)?))) {
            None => Ok(()),
            Some((stream, lacked)) => {
                let Row { name, size } = Row::of(forward, lacked);
                let text =
                    format!("stream {stream}: {name}: expected {size} features before its first frame, got none");
                Err(shape(text).hint("set_row sets them"))
            }
        }
    }
}

/// An input without a time axis, for messages.
struct Row<'a> {
    name: &'a str,
    size: usize,
}

impl<'a> Row<'a> {
    fn of(forward: &'a Forward, index: usize) -> Self {
        let row = &forward.rows[index];
        Self { name: &row.names[0], size: row.size }
    }
}

impl<E: Deref<Target = Engine>> Streams<E> {
    /// Sets an input of the model that has no time axis, by its name, for one stream. It meets each frame from the next
    /// one on, until it is set again. If it begins a stack, it does so with the stream's first frame.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the stream has left, the model has no
    /// such input, or the features do not fit it.
    ///
    /// # Example
    ///
    /// A decoder that begins with the features of a picture:
    ///
    /// ```
    /// use gatewave::interface::State;
    /// use gatewave::stream::Sampling;
    /// use gatewave::{Device, Embedding, Engine, Gru, Linear, Model, Streams, Weights};
    ///
    /// let mut g = Model::graph();
    /// let (words, picture) = (g.tokens("words", 20), g.row("picture", 3));
    /// let begin = g.add("begin", Linear::new(3, 8), picture);
    /// let vectors = g.add("vectors", Embedding::new(20, 8), words);
    /// let decoder = g.add("decoder", Gru::new(8, 8), vectors);
    /// g.begin(decoder, State::Hidden, begin);
    /// let next = g.add("next", Linear::new(8, 20), decoder);
    /// g.output("next", next);
    /// let model = g.finish()?;
    ///
    /// let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;
    /// let mut streams = Streams::new(&engine, 1)?;
    /// let caption = streams.join();
    /// streams.set_row(caption, "picture", &[0.1, 0.2, 0.3])?;
    /// let words = streams.generate(&[(caption, 1, Sampling::default())], 12)?;
    /// assert_eq!(words.shape(), [1, 12]);
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    pub fn set_row(&mut self, stream: StreamId, name: &str, features: &[f32]) -> Result<()> {
        self.slot(stream)?;
        let rows = &self.forward.rows;
        let index = rows.iter().position(|row| row.names.iter().any(|other| other == name)).ok_or_else(|| {
            let names = rows.iter().map(|row| row.names[0].as_str()).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "none".to_owned() } else { names };
            shape(format!("{name}: expected an input without a time axis ({names}), got another name"))
        })?;
        let row = &rows[index];
        if features.len() != row.size {
            return Err(shape(format!("{name}: expected {} features, got {}", row.size, features.len())));
        }
        let at = stream.row() * self.forward.row_width() + row.first;
        self.begun.rows[at..][..row.size].copy_from_slice(features);
        self.begun.is_set[stream.row() * rows.len() + index] = true;
        Ok(())
    }

    /// Sets the states of recurrent stack `stack` of one stream. Stacks are counted from 0 among the model's recurrent
    /// layers. The stream's next frame continues from these states. After a reset it begins at zero.
    ///
    /// # Shapes
    ///
    /// `h` `[L, state_size]`, `c` `[L, H]`, or both with a batch of one row: what a call of one sequence returns.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the stream has left, the model has no
    /// such stack, a value of the model begins it, or the states do not fit.
    pub fn set_states(&mut self, stream: StreamId, stack: usize, states: &States) -> Result<()> {
        self.slot(stream)?;
        let model = self.engine.model();
        let Some(of) = model.stacks().nth(stack) else {
            let stacks = model.stacks().count();
            return Err(shape(format!(
                "states of stack {stack}: the model has {stacks} recurrent stack(s), counted from 0"
            )));
        };
        let said = states.c.as_ref().filter(|_| states.h.is_empty()).unwrap_or(&states.h);
        let batching = if said.ndim() == 3 { Batching::Batch } else { Batching::Single };
        let form = Form { axes: model.axes, batching, time: 1, batch: 1 };
        check_states(states, (of, model.begun(stack)), form)
            .map_err(|e| e.at(format!("states of stack {stack} ({})", of.cell.name())))?;
        let mut give = |state: ArrayView3<'_, f32>, feed: &dyn Fn(usize) -> Feed| {
            for (layer, numbers) in state.outer_iter().enumerate() {
                let feed = feed(layer);
                self.begun.given.retain(|(row, other, _)| (*row, *other) != (stream.row(), feed));
                self.begun.given.push((stream.row(), feed, numbers.iter().copied().collect()));
            }
        };
        if !states.h.is_empty() {
            give(batched(&states.h, batching), &|layer| Feed::Hidden { stack, layer });
        }
        if let Some(c) = &states.c {
            give(batched(c, batching), &|layer| Feed::Cell { stack, layer });
        }
        self.slot(stream)?.is_used = true;
        Ok(())
    }

    /// Sets everything that one stream is given once, by the names of the model's [`ports`](Model::ports). Each input
    /// without a time axis must be there; states may be left out.
    ///
    /// # Shapes
    ///
    /// As the ports say, for a batch of one row.
    ///
    /// # Errors
    ///
    /// As [`set_row`](Self::set_row) and [`Model::named_input`].
    pub fn set_named(&mut self, stream: StreamId, tensors: &NamedTensors) -> Result<()> {
        self.slot(stream)?;
        let model = self.engine.model();
        let mut all = tensors.clone();
        for part in &self.forward.frames {
            if let Some(name) = part.names.iter().find(|name| tensors.contains_key(*name)) {
                return Err(shape(format!(
                    "{name}: expected what a stream is given once, got what comes frame by frame"
                )));
            }
        }
        all.extend(one_step(model, &self.forward)?);
        let input = read_input(model, &all)?;
        input.check(model)?;
        for name in self.forward.rows.iter().map(|row| row.names[0].clone()).collect::<Vec<_>>() {
            let Some(Sequence::Features(row)) = input.others.get(&name) else { continue };
            let row: Array1<f32> = row.view().iter().copied().collect();
            self.set_row(stream, &name, row.as_slice().expect("a vector"))?;
        }
        for (stack, states) in &input.states {
            self.set_states(stream, *stack, states)?;
        }
        Ok(())
    }

    /// Gives the streams of the push under way the states that they begin with,
    /// and any stream the states that were set for it.
    pub(super) async fn begin(&mut self) -> Result<()> {
        let mut rows = Vec::new();
        if !self.forward.begins.is_empty() && self.places.iter().any(|place| !self.slots[place.row].has_begun) {
            self.beginnings(&mut rows).await?;
        }
        if !self.begun.given.is_empty() {
            let states = &self.begun.states;
            let place = |feed: Feed| states.iter().position(|&other| other == feed);
            for (row, feed, data) in self.begun.given.drain(..) {
                let state =
                    place(feed).ok_or_else(|| Error::internal(format!("{feed}: expected a state of streams")))?;
                rows.push(StateRow { state, row, data });
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let engine = &*self.engine;
        let states = self.states.as_mut().expect("they have been made");
        engine.executor.set(states, &rows).await.map_err(|e| engine.device().explain(e))
    }

    /// Computes the initial states of the beginning streams of the push under way.
    async fn beginnings(&mut self, begun: &mut Vec<StateRow>) -> Result<()> {
        let (engine, batch) = (&*self.engine, self.slots.len());
        let mut begins = vec![false; batch];
        self.places.iter().for_each(|place| begins[place.row] = !self.slots[place.row].has_begun);
        let of = |&(stack, state): &(usize, State)| match state {
            State::Hidden => Feed::Hidden { stack, layer: 0 },
            State::Cell => Feed::Cell { stack, layer: 0 },
        };
        let place = |feed: Feed| self.begun.states.iter().position(|&other| other == feed);
        let states: Vec<_> = self.forward.begins.iter().map(of).filter_map(place).collect();
        if states.len() != self.forward.begins.len() {
            return Err(Error::internal("streams: expected each state that a value of the model begins, got fewer"));
        }
        let sizes = sizes(engine.model(), &self.forward);
        let mut beginning = Beginning {
            forward: &self.forward,
            once: &self.begun.rows,
            begins: &begins,
            states: &states,
            sizes: &sizes,
            rows: 0..0,
            begun,
        };
        let mut tiles = Tiles::to(&engine.planner, Goal::Beginnings, Shape::new(1, batch, Mask::All));
        while let Some(Tile { rows, plan }) = tiles.next().await? {
            beginning.rows = rows;
            let run = engine.executor.run(&plan, &mut beginning);
            run.await.map_err(|e| engine.device().explain(e))?;
        }
        for (slot, begins) in self.slots.iter_mut().zip(begins) {
            slot.has_begun |= begins;
            slot.is_used |= begins;
        }
        Ok(())
    }
}

/// The size of each state that a value of the model begins.
fn sizes(model: &Model, forward: &Forward) -> Vec<usize> {
    let stacks: Vec<_> = model.stacks().collect();
    let size = |&(stack, state): &(usize, State)| match state {
        State::Hidden => stacks[stack].state_size(),
        State::Cell => stacks[stack].hidden_size,
    };
    forward.begins.iter().map(size).collect()
}

/// One step of zeros for each sequence of `model`, by name, so that a call has all its inputs.
fn one_step(model: &Model, forward: &Forward) -> Result<NamedTensors> {
    let ports = model.all_ports();
    let mut steps = NamedTensors::new();
    for part in &forward.frames {
        let port = ports.inputs.iter().find(|port| part.names.contains(&port.name) && is_sequence(&port.value));
        let Some(port) = port else {
            let text = format!("{}: expected a port of the model, got none", part.names[0]);
            return Err(Error::new(ErrorKind::Model, text));
        };
        let features = if let Flow::Tokens(_) = part.flow { 1 } else { part.flow.features().len() };
        let length = |dim: &Dim| if *dim == Dim::Features { features } else { 1 };
        let dims = IxDyn(&port.axes.iter().map(length).collect::<Vec<_>>());
        let values = match part.flow {
            Flow::Tokens(_) => Values::I64(ArrayD::zeros(dims)),
            Flow::Steps(_) | Flow::Rows(_) => Values::F32(ArrayD::zeros(dims)),
        };
        steps.insert(port.name.clone(), values);
    }
    Ok(steps)
}

fn is_sequence(value: &InputValue) -> bool {
    matches!(value, InputValue::Sequence | InputValue::Input(_))
}

/// Some rows of beginning streams, as the host's side of a plan.
struct Beginning<'a> {
    forward: &'a Forward,
    once: &'a [f32],
    /// Which rows of the batch begin.
    begins: &'a [bool],
    /// For each output of the plan, the state that it begins, and its size.
    states: &'a [usize],
    sizes: &'a [usize],
    rows: Range<usize>,
    begun: &'a mut Vec<StateRow>,
}

impl HostIo for Beginning<'_> {
    fn write(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        match write.feed {
            Feed::Other(input) if self.forward.give_row(input, self.once, &self.rows, words) => Ok(()),
            feed => Err(Error::internal(format!("{feed}: expected what a stream is given once"))),
        }
    }

    fn read(&mut self, read: Read, data: &[f32]) {
        let Some(output) = output_of(read.fetch) else { return };
        let (state, size) = (self.states[output], self.sizes[output]);
        for (row, data) in self.rows.clone().zip(data.chunks_exact(data.len() / self.rows.len())) {
            if self.begins[row] {
                self.begun.push(StateRow { state, row, data: data[..size].to_vec() });
            }
        }
    }
}
