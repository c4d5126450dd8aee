//! Many independent streams in one batch, frame by frame. Their states stay where the engine computes.
//!
//! Tracks which stream owns which row, and which frames come in a push. The rest is elsewhere: the states in
//! `device_states`, one push's IO in `push`, the ways to give frames in `frames`, initial states in `begin`, deferred
//! results in `pending`, and drawing tokens in `generate`.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use ndarray::ArrayView2;

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Mask;
use crate::plan::{Goal, Results, Shape, Steps};

use super::Engine;
use super::begin::Begun;
use super::device_states::DeviceStates;
use super::forward::Forward;
use super::pending::Pending;
use super::push::{FramePos, Frames, Part, Push};
use super::tiles::{Tile, Tiles};

/// Many independent streams of one model in one batch: microphones, sensors, sessions.
///
/// Each has its own states, which stay on the engine's device from one [`push`](Self::push) to the next. Streams join,
/// leave and are reset at any time. A stream that gets no frame in a push keeps its states. A stream gives the same
/// results as one call of [`Engine::run`] over all its frames: on the CPU bit for bit, on a GPU within rounding.
///
/// A push computes all rows of the batch, even those without frames, so streams that come at the same pace belong
/// together. If a stream joins and no row is free, room for twice as many is made. A push with a number of frames and
/// rows that was seen before allocates no memory.
///
/// # Example
///
/// ```
/// use gatewave::{Device, Engine, Gru, Linear, Model, Results, Streams, Weights};
///
/// let model = Model::new().layer(Gru::new(3, 16)).layer(Linear::new(16, 1));
/// let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;
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
    /// How the model runs frame by frame.
    pub(super) forward: Arc<Forward>,
    /// What streams were given once.
    pub(super) begun: Begun,
    /// By row of the batch.
    pub(super) slots: Vec<Slot>,
    /// The rows that no stream has; the last one is taken first.
    free: Vec<usize>,
    /// The states of the first `rows` rows of the batch; `None` before the first push.
    pub(super) states: Option<DeviceStates>,
    /// The number of rows in `states`. Rows that joined since the last push are missing.
    rows: usize,
    /// For the push under way: the place of each frame, the order of the frames
    /// (those of a run side by side), and their outputs.
    pub(super) places: Vec<FramePos>,
    order: Vec<usize>,
    pub(super) outputs: Vec<f32>,
    /// Pushes whose results are deferred.
    pub(super) pending: Pending,
    /// The tokens that were drawn last, and the output that tokens are drawn from.
    pub(super) drawn: Vec<i64>,
    pub(super) drawn_from: usize,
}

/// Identifies a stream to the [`Streams`] that made it, until the stream leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    row: usize,
    /// How many streams had the row before this one.
    turn: u64,
}

/// A row of the batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    turn: u64,
    is_taken: bool,
    /// Whether its states may differ from zero.
    pub(super) is_used: bool,
    /// The clocks by which its stream has had a live step, one bit for each.
    pub(super) lived: u16,
    /// Whether the initial states that are values of the model are in place.
    pub(super) has_begun: bool,
    /// Its frames in the push under way.
    frames: usize,
    /// How many frames its stream has had since it began, modulo 2³².
    pub(super) position: u32,
}

impl StreamId {
    /// The row of the batch.
    pub(super) fn row(self) -> usize {
        self.row
    }
}

impl Slot {
    /// Whether its stream has had a live step by clock `clock`.
    pub(super) fn has_lived(&self, clock: usize) -> bool {
        self.lived & 1 << clock != 0
    }
}

impl<E: Deref<Target = Engine>> Streams<E> {
    /// Makes a batch with room for `capacity` streams, and no streams yet.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model)
    /// if something in the model needs later frames:
    ///
    /// - a stack that is bidirectional, or that goes from the last step to the first;
    /// - a stack that begins where another one ended;
    /// - steps that are sliced or joined, and what windows of steps come to;
    /// - an attention, which sums over all steps;
    /// - a value that is known only after the last step, but is used at every step.
    pub fn new(engine: E, capacity: usize) -> Result<Self> {
        let (forward, capacity) = (Arc::new(Forward::of(engine.model())?), capacity.max(1));
        let mut streams = Self {
            engine,
            forward,
            begun: Begun::default(),
            slots: Vec::new(),
            free: Vec::new(),
            states: None,
            rows: 0,
            places: Vec::new(),
            order: Vec::new(),
            outputs: Vec::new(),
            pending: Pending::default(),
            drawn: Vec::new(),
            drawn_from: 0,
        };
        streams.extend(capacity);
        Ok(streams)
    }

    /// Adds a stream. It begins at zero, or with the initial states that the model computes.
    /// If there is no room, the next push makes twice as much.
    pub fn join(&mut self) -> StreamId {
        let row = self.free.pop().unwrap_or_else(|| {
            self.extend(2 * self.slots.len());
            self.free.pop().expect("room was made")
        });
        self.slots[row].is_taken = true;
        StreamId { row, turn: self.slots[row].turn }
    }

    /// Ends a stream; its row is free for another.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the stream has already left.
    pub fn leave(&mut self, stream: StreamId) -> Result<()> {
        self.reset(stream)?;
        self.begun.forget(stream.row, &self.forward);
        let slot = &mut self.slots[stream.row];
        (slot.is_taken, slot.turn) = (false, slot.turn + 1);
        self.free.push(stream.row);
        Ok(())
    }

    /// Restarts a stream as if it had just joined. Rows that were set for it stay.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the stream has left.
    pub fn reset(&mut self, stream: StreamId) -> Result<()> {
        let slot = self.slot(stream)?;
        let was_used = slot.is_used;
        (slot.is_used, slot.has_begun, slot.lived, slot.position) = (false, false, 0, 0);
        self.begun.forget_states(stream.row);
        if let (true, Some(states)) = (was_used, &mut self.states) {
            states.clear(stream.row);
        }
        Ok(())
    }

    /// Returns the number of streams.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Returns whether there are no streams.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of streams that there is room for.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Finds the step and the row of each frame.
    pub(super) fn place(&mut self, streams: impl Iterator<Item = StreamId> + Clone) -> Result<()> {
        for (frame, stream) in streams.clone().enumerate() {
            self.slot(stream).map_err(|e| e.at(format!("frame {frame}")))?;
        }
        self.places.clear();
        for StreamId { row, .. } in streams.clone() {
            self.places.push(FramePos { step: self.slots[row].frames, row });
            self.slots[row].frames += 1;
        }
        streams.clone().for_each(|stream| self.slots[stream.row].frames = 0);
        self.begun.check(streams, &self.forward)
    }

    /// Computes the frames that were placed.
    pub(super) async fn run_push(&mut self, frames: Frames<'_>, results: Results) -> Result<()> {
        if results == Results::Deferred {
            self.pending.begin()?;
        }
        let wanted = if results == Results::Unwanted { 0 } else { self.places.len() * self.forward.output_width() };
        self.outputs.resize(wanted, 0.0);
        if let Some(last) = self.places.iter().map(|place| place.step).max() {
            // A value that is known after the last step is one row for each run. So each frame must be a run.
            let (time, rounds) = if self.forward.one_by_one { (1, last + 1) } else { (last + 1, 1) };
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
                self.round(&frames, part, results).await?;
            }
        }
        if results == Results::Deferred {
            self.pending.push(&mut self.places, &mut self.order, &mut self.outputs);
        }
        Ok(())
    }

    /// Makes the states, or room for those of new streams; then gives beginning streams their initial states.
    pub(super) async fn settle(&mut self, goal: Goal, time: usize) -> Result<()> {
        let (engine, rows) = (&*self.engine, self.slots.len());
        let explain = |e| engine.device().explain(e);
        match &mut self.states {
            None => {
                let plan = engine.planner.planned(goal, Shape::new(time, rows, Mask::Live)).await?;
                self.begun.know(&plan);
                self.states = Some(engine.executor.new_states(&plan, rows).await.map_err(explain)?);
            }
            Some(states) if self.rows < rows => engine.executor.grow(states, rows).await.map_err(explain)?,
            Some(_) => {}
        }
        self.rows = rows;
        self.begin().await
    }

    /// One run of the steps of `part`, in all rows.
    async fn round(&mut self, frames: &Frames<'_>, part: Part, results: Results) -> Result<()> {
        let here = &self.order[part.frames.clone()];
        // However the run ends, a row that begins anew is cleared.
        here.iter().for_each(|&frame| self.slots[self.places[frame].row].is_used = true);
        let engine = &*self.engine;
        let states = self.states.as_mut().expect("they have been made");
        let (time, batch) = (part.time, self.slots.len());
        let mut push = Push {
            frames,
            places: &self.places,
            order: &self.order,
            slots: &self.slots,
            forward: &self.forward,
            once: self.begun.rows(),
            part,
            outputs: &mut self.outputs,
        };
        let mask = |clock| if push.live_frames(clock) == time * batch { Mask::All } else { Mask::Live };
        let steps = (0..push.forward.own.len()).map(|clock| Steps { time, mask: mask(clock) });
        let mut tiles = Tiles::to(&engine.planner, Goal::Frames, Shape::of_clocks(batch, steps));
        while let Some(Tile { rows, plan }) = tiles.next().await? {
            push.part.rows = rows.clone();
            let run = engine.executor.run_on(&plan, &mut push, (&mut *states, rows.start), results);
            if let Some(pending) = run.await.map_err(|e| engine.device().explain(e))? {
                self.pending.add(pending, push.part.clone());
            }
        }
        for &frame in here {
            let slot = &mut self.slots[self.places[frame].row];
            for (clock, own) in self.forward.own.iter().enumerate() {
                slot.lived |= u16::from(frames.is_live(own, frame)) << clock;
            }
            slot.position = slot.position.wrapping_add(1);
        }
        Ok(())
    }

    /// The first output of the last push.
    pub(super) fn view(&self) -> ArrayView2<'_, f32> {
        self.view_of(0)
    }

    /// Output `output` of the last push.
    pub(super) fn view_of(&self, output: usize) -> ArrayView2<'_, f32> {
        let frames = self.outputs.len() / self.forward.output_width();
        let (given, features) = (&self.forward.outputs[output], self.forward.outputs[output].features.len());
        let data = &self.outputs[frames * given.first..][..frames * features];
        ArrayView2::from_shape((frames, features), data).expect("whole rows")
    }

    pub(super) fn slot(&mut self, stream: StreamId) -> Result<&mut Slot> {
        let slot = self.slots.get_mut(stream.row).filter(|slot| slot.is_taken && slot.turn == stream.turn);
        slot.ok_or_else(|| shape(format!("stream {stream}: it has left, or is of other streams")))
    }

    /// Adds free rows, up to `capacity`.
    fn extend(&mut self, capacity: usize) {
        self.free.extend((self.slots.len()..capacity).rev());
        self.slots.resize(capacity, Slot::default());
        self.begun.extend(capacity, &self.forward);
    }
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
