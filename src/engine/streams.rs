//! Many independent streams in one batch, frame by frame, their states where the engine computes.
//!
//! Which row is whose, who has frames this time and who waits stand here; the rows themselves are `resident`'s, what a plan
//! is given and gives for one push is `push`'s, results that are fetched later are `later`'s, and streams that draw their own
//! next tokens are `generate`'s.

use std::fmt;
use std::ops::Deref;

use ndarray::ArrayView2;

use crate::call::Own;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Mask;
use crate::model::{Clocks, Direction, Flow, Initial, LayerKind, Model, Pin, Value};
use crate::plan::{Goal, Results, Shape};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

use super::Engine;
use super::executor::Wait;
use super::later::Later;
use super::push::{Frames, Part, Place, Push};
use super::resident::Resident;

/// Many independent streams of one model in one batch: microphones, sensors, sessions.
///
/// Each has states of its own, which stay on the engine's device from one [`push`](Self::push) to the next. Streams join,
/// leave and are reset at any time; those that are given nothing in a push keep their states. What a stream gives is what
/// one call of [`Engine::run`] over all its frames would give: on the CPU bit for bit, on a GPU within rounding.
///
/// A push computes all rows of the batch, whoever is given frames: streams that come at the same pace belong together.
/// Room for twice as many is made where one joins and none is free. A push at a number of frames and rows that was seen
/// before takes no memory.
///
/// # Example
///
/// ```
/// use gatewave::{Device, Engine, Gru, Linear, Model, Results, Streams, Weights};
///
/// let model = Model::new().layer(Gru::new(3, 16)).layer(Linear::new(16, 1));
/// let engine = Engine::new(model.clone(), &Weights::random(&model, 0)?, Device::Cpu)?;
///
/// let mut streams = Streams::new(&engine, 100)?; // an `Arc<Engine>` will do as well
/// let (a, b) = (streams.join(), streams.join());
/// let outputs = streams.push(&[(a, [0.1, 0.2, 0.3]), (b, [0.4, 0.5, 0.6])], Results::Wanted)?;
/// assert_eq!(outputs.shape(), [2, 1]);
///
/// // Two frames of `b`, in order, while `a` has none.
/// let outputs = streams.push(&[(b, [0.7, 0.8, 0.9]), (b, [1.0, 1.1, 1.2])], Results::Wanted)?;
/// assert_eq!(outputs.shape(), [2, 1]);
/// streams.leave(b)?;
/// # Ok::<(), gatewave::Error>(())
/// ```
pub struct Streams<E> {
    pub(super) engine: E,
    /// Which frames are no steps to the stacks.
    own: Vec<Own>,
    /// Of which frames the features are not read.
    unread: Vec<Own>,
    /// By row of the batch.
    pub(super) slots: Vec<Slot>,
    /// Rows that no stream has, the next to be given last.
    free: Vec<usize>,
    /// Rows that `slots` counts, but for those that joined since the last push; none before the first.
    pub(super) states: Option<Resident>,
    /// The rows of `states`.
    rows: usize,
    /// Of the push under way: where each frame goes, the frames with those of each run side by side, and what each gave.
    pub(super) places: Vec<Place>,
    order: Vec<usize>,
    pub(super) outputs: Vec<f32>,
    /// Pushes whose results are for later.
    pub(super) later: Later,
    /// The tokens that were drawn last.
    pub(super) drawn: Vec<i64>,
}

/// One of the [`Streams`] that made it, until it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    row: usize,
    /// How many streams had the row before.
    turn: u64,
}

/// A row of the batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    turn: u64,
    is_taken: bool,
    /// Whether its states may be other than zero.
    pub(super) is_used: bool,
    /// Whether its stream has had a live step.
    pub(super) has_lived: bool,
    /// Its frames in the push under way.
    frames: usize,
    /// How many frames it has been given since it began, modulo 2³².
    pub(super) position: u32,
}

impl<E: Deref<Target = Engine>> Streams<E> {
    /// No streams yet, with room for `capacity` of them.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where a stack looks at later steps too (it is bidirectional, or goes from the last step to the
    /// first), or where the model takes several inputs.
    pub fn new(engine: E, capacity: usize) -> Result<Self> {
        check(engine.model())?;
        let ([own, unread], capacity) = (own(engine.model()), capacity.max(1));
        let mut streams = Self {
            engine,
            own,
            unread,
            slots: Vec::new(),
            free: Vec::new(),
            states: None,
            rows: 0,
            places: Vec::new(),
            order: Vec::new(),
            outputs: Vec::new(),
            later: Later::default(),
            drawn: Vec::new(),
        };
        streams.extend(capacity);
        Ok(streams)
    }

    /// A new stream, which begins at zero. Where there is no room, the next push makes twice as much.
    pub fn join(&mut self) -> StreamId {
        let row = self.free.pop().unwrap_or_else(|| {
            self.extend(2 * self.slots.len());
            self.free.pop().expect("room was made")
        });
        self.slots[row].is_taken = true;
        StreamId { row, turn: self.slots[row].turn }
    }

    /// The stream is over; its row is free for another.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where it has left already.
    pub fn leave(&mut self, stream: StreamId) -> Result<()> {
        self.reset(stream)?;
        let slot = &mut self.slots[stream.row];
        (slot.is_taken, slot.turn) = (false, slot.turn + 1);
        self.free.push(stream.row);
        Ok(())
    }

    /// The stream begins anew, at zero.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where it has left.
    pub fn reset(&mut self, stream: StreamId) -> Result<()> {
        let slot = self.slot(stream)?;
        let was_used = slot.is_used;
        (slot.is_used, slot.has_lived, slot.position) = (false, false, 0);
        if let (true, Some(states)) = (was_used, &mut self.states) {
            states.clear(stream.row);
        }
        Ok(())
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many streams there is room for.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Gives streams their next frames: what each frame gives. Frames of one stream stand in the order of time.
    ///
    /// Where results are [`Unwanted`](Results::Unwanted) a GPU still computes when this returns, and there are none; nor are
    /// there where they are for [`Later`](Results::Later): [`receive`](Self::receive) then waits for them.
    ///
    /// # Shapes
    ///
    /// A frame is `[I]`; the result `[frames, F]`, a row for each frame.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where a stream has left or a frame does not fit the model; `Limits`, where no plan of the batch fits the
    /// device, or 16 pushes wait for [`receive`](Self::receive) and this would be one more: nothing has changed then.
    /// `Limits`, where the device's memory runs out, `Device` or `Lost`, where it fails: then the states are lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn push<F: AsRef<[f32]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        block_on(self.features(frames, results, Wait::Here))?;
        Ok(self.view())
    }

    /// [`push`](Self::push), without blocking on a GPU. Where the future is dropped before it is ready, the frames may have been
    /// computed or not: reset their streams.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn push_async<F: AsRef<[f32]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        self.features(frames, results, Wait::Aside).await?;
        Ok(self.view())
    }

    /// [`push`](Self::push) for a model that takes tokens: a frame is one of them.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn push_tokens(&mut self, tokens: &[(StreamId, i64)], results: Results) -> Result<ArrayView2<'_, f32>> {
        block_on(self.tokens(tokens, results, Wait::Here))?;
        Ok(self.view())
    }

    /// [`push_tokens`](Self::push_tokens), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub async fn push_tokens_async(
        &mut self,
        tokens: &[(StreamId, i64)],
        results: Results,
    ) -> Result<ArrayView2<'_, f32>> {
        self.tokens(tokens, results, Wait::Aside).await?;
        Ok(self.view())
    }

    async fn features<F: AsRef<[f32]> + Sync>(
        &mut self,
        frames: &[(StreamId, F)],
        results: Results,
        wait: Wait,
    ) -> Result<()> {
        match self.engine.model().input()? {
            Flow::Steps(features) | Flow::Rows(features) => {
                let wrong = frames.iter().position(|(_, frame)| frame.as_ref().len() != features.len());
                if let Some(frame) = wrong {
                    let (expected, got) = (features.len(), frames[frame].1.as_ref().len());
                    return Err(shape(format!("frame {frame}: expected {expected} features, got {got}")));
                }
            }
            Flow::Tokens(_) => return Err(shape("frames: expected tokens (push_tokens), got features")),
        }
        self.place(frames.iter().map(|(stream, _)| *stream))?;
        self.walk(Frames::Features(&|frame| frames[frame].1.as_ref()), results, wait).await
    }

    async fn tokens(&mut self, tokens: &[(StreamId, i64)], results: Results, wait: Wait) -> Result<()> {
        let Flow::Tokens(bound) = self.engine.model().input()? else {
            return Err(shape("frames: expected features (push), got tokens"));
        };
        let wrong = |(_, token): &(StreamId, i64)| usize::try_from(*token).map_or(true, |token| token >= bound);
        if let Some(frame) = tokens.iter().position(wrong) {
            let (last, got) = (bound - 1, tokens[frame].1);
            return Err(shape(format!("frame {frame}: expected a token from 0 to {last}, got {got}")));
        }
        self.place(tokens.iter().map(|(stream, _)| *stream))?;
        self.walk(Frames::Tokens(&|frame| tokens[frame].1), results, wait).await
    }

    /// Finds each frame its step and row.
    pub(super) fn place(&mut self, streams: impl Iterator<Item = StreamId> + Clone) -> Result<()> {
        for (frame, stream) in streams.clone().enumerate() {
            self.slot(stream).map_err(|e| e.at(format!("frame {frame}")))?;
        }
        self.places.clear();
        for StreamId { row, .. } in streams.clone() {
            self.places.push(Place { step: self.slots[row].frames, row });
            self.slots[row].frames += 1;
        }
        streams.for_each(|stream| self.slots[stream.row].frames = 0);
        Ok(())
    }

    /// Computes the frames that were placed.
    async fn walk(&mut self, frames: Frames<'_>, results: Results, wait: Wait) -> Result<()> {
        let flow = self.engine.planner.flow();
        if results == Results::Later {
            self.later.begin()?;
        }
        let wanted = if results == Results::Unwanted { 0 } else { self.places.len() * flow.features().len() };
        self.outputs.resize(wanted, 0.0);
        if let Some(last) = self.places.iter().map(|place| place.step).max() {
            // A model whose time axis is gone gives one row a run: each frame is a run then.
            let (time, rounds) = if matches!(flow, Flow::Rows(_)) { (1, last + 1) } else { (last + 1, 1) };
            self.settle(Goal::Frames, time).await?;
            self.order.clear();
            self.order.extend(0..self.places.len());
            if rounds > 1 {
                let places = &self.places;
                self.order.sort_unstable_by_key(|&frame| (places[frame].step, frame));
            }
            let mut begin = 0;
            for first in (0..rounds).map(|round| round * time) {
                let of = self.order[begin..].partition_point(|&frame| self.places[frame].step < first + time);
                let part = Part { first, time, frames: begin..begin + of, rows: 0..0 };
                begin += of;
                self.round(&frames, part, results, wait).await?;
            }
        }
        if results == Results::Later {
            self.later.push(&mut self.places, &mut self.order, &mut self.outputs);
        }
        Ok(())
    }

    /// Makes the states, or room for those that joined.
    pub(super) async fn settle(&mut self, goal: Goal, time: usize) -> Result<()> {
        let (engine, rows) = (&*self.engine, self.slots.len());
        let explain = |e| engine.device().explain(e);
        match &mut self.states {
            None => {
                let plan = engine.planner.plan_to(goal, Shape::new(time, rows, Mask::Live))?;
                self.states = Some(engine.executor.resident(&plan, rows).await.map_err(explain)?);
            }
            Some(states) if self.rows < rows => engine.executor.grow(states, rows).await.map_err(explain)?,
            Some(_) => {}
        }
        self.rows = rows;
        Ok(())
    }

    /// One run of the steps of `part`, in all rows.
    async fn round(&mut self, frames: &Frames<'_>, part: Part, results: Results, wait: Wait) -> Result<()> {
        let here = &self.order[part.frames.clone()];
        // Whatever becomes of the run: a row that begins anew is cleared.
        here.iter().for_each(|&frame| self.slots[self.places[frame].row].is_used = true);
        let engine = &*self.engine;
        let states = self.states.as_mut().expect("they have been made");
        let (time, batch) = (part.time, self.slots.len());
        let mut push = Push {
            frames,
            places: &self.places,
            order: &self.order,
            slots: &self.slots,
            own: &self.own,
            unread: &self.unread,
            part,
            features: engine.planner.flow().features(),
            outputs: &mut self.outputs,
        };
        let mask = if push.live_frames() == time * batch { Mask::All } else { Mask::Live };
        for tile in engine.tiles_of(Goal::Frames, Shape::new(time, batch, mask)) {
            let tile = tile?;
            push.part.rows = tile.rows.clone();
            let run = engine.executor.run_on(&tile.plan, &mut push, (&mut *states, tile.rows.start), results, wait);
            if let Some(flight) = run.await.map_err(|e| engine.device().explain(e))? {
                self.later.add(flight, push.part.clone());
            }
        }
        for &frame in here {
            let slot = &mut self.slots[self.places[frame].row];
            slot.has_lived |= frames.is_live(&self.own, frame);
            slot.position = slot.position.wrapping_add(1);
        }
        Ok(())
    }

    /// What the last push gave.
    pub(super) fn view(&self) -> ArrayView2<'_, f32> {
        let features = self.engine.planner.flow().features().len();
        let dims = (self.outputs.len() / features, features);
        ArrayView2::from_shape(dims, &self.outputs).expect("whole rows")
    }

    fn slot(&mut self, stream: StreamId) -> Result<&mut Slot> {
        let slot = self.slots.get_mut(stream.row).filter(|slot| slot.is_taken && slot.turn == stream.turn);
        slot.ok_or_else(|| shape(format!("stream {stream}: it has left, or is of other streams")))
    }

    /// Rows up to `capacity`, free.
    fn extend(&mut self, capacity: usize) {
        self.free.extend((self.slots.len()..capacity).rev());
        self.slots.resize(capacity, Slot::default());
    }
}

/// Whether frames of `model` can be computed as they come.
fn check(model: &Model) -> Result<()> {
    let stacks = model.layers.iter().enumerate().filter_map(|(index, layer)| match &layer.kind {
        LayerKind::Recurrent(stack) => Some((index, stack)),
        _ => None,
    });
    for (index, stack) in stacks {
        let got = match stack.direction {
            Direction::Forward if stack.initial == Initial::Zero => continue,
            Direction::Forward => "one with learned states: streams begin at zero",
            Direction::Reverse => "a reverse one: it needs later frames",
            Direction::Backwards => "a backwards one: it needs later frames",
            Direction::Both => "a bidirectional one: it needs later frames",
        };
        let text = format!("layer {index} {}: expected a forward stack, got {got}", stack.cell.name());
        return Err(Error::new(ErrorKind::Model, text));
    }
    graph_goes_forward(model)?;
    let clocks = Clocks::of(model);
    match clocks.of_stacks(model).position(|clock| clock > 0) {
        None => Ok(()),
        Some(stack) => {
            let text =
                format!("stack {stack}: expected the mask of the first one, by which a frame is a step, got another");
            Err(Error::new(ErrorKind::Model, text))
        }
    }
}

/// Which frames are no steps to the stacks of `model`, and of which the features are not read.
fn own(model: &Model) -> [Vec<Own>; 2] {
    let clocks = Clocks::of(model);
    let of = |clock| Own::of_clock(model, &clocks, clock).into_iter().map(|(_, own)| own).collect();
    [of(0), clocks.of_read(model.main_input()).map_or_else(Vec::new, of)]
}

/// Whether a model that is no chain gives each frame's output from that frame and those before it alone.
fn graph_goes_forward(model: &Model) -> Result<()> {
    let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
    let main = model.main_input();
    if let Some((_, other)) = model.inputs.iter().enumerate().find(|(index, _)| *index != main) {
        return wrong(format!(
            "inputs: expected one sequence, which a stream is given frame by frame, got {} too",
            other.name
        ));
    }
    if model.feature_outputs().len() > 1 {
        return wrong(format!("outputs: expected one, got {}", model.feature_outputs().len()));
    }
    // Values that are there only after the last step.
    let mut late: Vec<Value> = Vec::new();
    for ((index, layer), flow) in model.layers.iter().enumerate().zip(model.flows()?) {
        let is_late =
            |value: &&Value| late.contains(value) || matches!(value, Value::Layer(_, pin) if *pin != Pin::Output);
        let at_each_step = matches!(flow, Flow::Steps(_));
        let taken = layer.from.iter().filter(|_| at_each_step).chain(layer.initial.iter().flatten());
        if taken.into_iter().any(|value| is_late(&value)) {
            let place = model.place(index);
            return wrong(format!(
                "layer {place}: expected what each frame gives, got what is known after the last one"
            ));
        }
        if matches!(flow, Flow::Rows(_)) {
            late.push(Value::Layer(index, Pin::Output));
        }
    }
    Ok(())
}

pub(super) fn shape(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Shape, message)
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.row, self.turn)
    }
}

impl<E: Deref<Target = Engine>> fmt::Debug for Streams<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (streams, capacity) = (self.len(), self.capacity());
        f.debug_struct("Streams").field("streams", &streams).field("capacity", &capacity).finish_non_exhaustive()
    }
}
