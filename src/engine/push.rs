//! One push of streams as the host's side of a plan: frames written at their
//! steps and rows, and results read for each frame.
//!
//! Knows frames, steps and rows; knows no state and no device.

use std::ops::Range;

use crate::call::OwnMask;
use crate::error::Result;
use crate::feed::{StepOrder, started, unpad_row};
use crate::kernel::padded;
use crate::plan::{Feed, Fetch, HostIo, Read, Write};

use super::forward::{Forward, OutputPart};
use super::streams::Slot;

/// The value of one input of a model in a frame.
///
/// # Example
///
/// ```
/// use gatewave::stream::FrameValue;
///
/// let frame = [("words", FrameValue::Token(3)), ("sensor", FrameValue::Features(&[0.5, 1.0]))];
/// # drop(frame);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FrameValue<'a> {
    /// Features.
    Features(&'a [f32]),
    /// A token.
    Token(i64),
}

/// The frames of a push, by index.
pub(super) enum Frames<'a> {
    /// The features of the one input.
    Features(&'a (dyn Fn(usize) -> &'a [f32] + Sync)),
    /// The tokens of the one input.
    Tokens(&'a (dyn Fn(usize) -> i64 + Sync)),
    /// The value of an input, by its index among the model's.
    Named(&'a (dyn Fn(usize, usize) -> FrameValue<'a> + Sync)),
}

/// The place of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct FramePos {
    /// The step, counted from the first of the push.
    pub(super) step: usize,
    /// The row of the batch.
    pub(super) row: usize,
}

/// Some steps and rows of a push.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The first step, and the number of steps.
    pub(super) first: usize,
    pub(super) time: usize,
    /// The range of their frames in the push's order.
    pub(super) frames: Range<usize>,
    pub(super) rows: Range<usize>,
}

/// A part of a push, as the host's side of a plan.
pub(super) struct Push<'a, 'f> {
    pub(super) frames: &'a Frames<'f>,
    pub(super) places: &'a [FramePos],
    /// The order of the frames, in which those of a part are side by side.
    pub(super) order: &'a [usize],
    pub(super) slots: &'a [Slot],
    pub(super) forward: &'a Forward,
    /// The features that each row of the batch was given once, `[rows][features]`.
    pub(super) once: &'a [f32],
    pub(super) part: Part,
    /// `[frames][features]` of each output.
    pub(super) outputs: &'a mut [f32],
}

/// Which output of the model `fetch` reads, counted from 0 among those that are no final states.
pub(super) fn output_of(fetch: Fetch) -> Option<usize> {
    match fetch {
        Fetch::Output => Some(0),
        Fetch::Other(output) => Some(output),
        Fetch::Tokens
        | Fetch::Losses(_)
        | Fetch::Norm
        | Fetch::Weights(_)
        | Fetch::Input(_)
        | Fetch::InitialHidden { .. }
        | Fetch::InitialCell { .. }
        | Fetch::Hidden { .. }
        | Fetch::HiddenPart { .. }
        | Fetch::Cell { .. } => None,
    }
}

impl Part {
    /// The index of a frame in `[T][B]`, if it is in this part.
    fn find(&self, place: FramePos) -> Option<usize> {
        let step = place.step.checked_sub(self.first).filter(|&step| step < self.time)?;
        self.rows.contains(&place.row).then(|| step * self.rows.len() + place.row - self.rows.start)
    }

    /// Copies the results of this part's frames from `data`, output `given` of a plan,
    /// to `outputs`: `[frames][features]` of each output.
    pub(super) fn cut(
        &self,
        data: &[f32],
        (places, order): (&[FramePos], &[usize]),
        given: &OutputPart,
        outputs: &mut [f32],
    ) {
        let features = given.features;
        let width = features.parts * padded(features.size);
        let outputs = &mut outputs[places.len() * given.first..];
        for &frame in &order[self.frames.clone()] {
            if let Some(at) = self.find(places[frame]) {
                // An output without a time axis is one row for all steps.
                let at = if given.is_row { at % self.rows.len() } else { at };
                unpad_row(&data[at * width..], features, &mut outputs[frame * features.len()..][..features.len()]);
            }
        }
    }
}

impl Frames<'_> {
    /// The features of frame `frame` for input `input`.
    fn features(&self, frame: usize, input: usize) -> &[f32] {
        match self {
            Self::Features(features) => features(frame),
            Self::Named(value) => match value(frame, input) {
                FrameValue::Features(features) => features,
                FrameValue::Token(_) => unreachable!("what frames have has been checked"),
            },
            Self::Tokens(_) => unreachable!("frames are what the model begins with"),
        }
    }

    /// The token of frame `frame` for input `input`.
    fn token(&self, frame: usize, input: usize) -> i64 {
        match self {
            Self::Tokens(token) => token(frame),
            Self::Named(value) => match value(frame, input) {
                FrameValue::Token(token) => token,
                FrameValue::Features(_) => unreachable!("what frames have has been checked"),
            },
            Self::Features(_) => unreachable!("frames are what the model begins with"),
        }
    }

    /// Whether frame `frame` is a live step, as far as the masks `own` say.
    pub(super) fn is_live(&self, own: &[(usize, OwnMask)], frame: usize) -> bool {
        own.iter().all(|&(input, own)| match own {
            OwnMask::Value(_) => own.keeps(self.features(frame, input)),
            OwnMask::Token(_) => own.keeps_token(self.token(frame, input)),
        })
    }
}

impl Push<'_, '_> {
    /// The number of frames of these steps, in any row, that are live steps by clock `clock`.
    pub(super) fn live_frames(&self, clock: usize) -> usize {
        let frames = self.order[self.part.frames.clone()].iter();
        frames.filter(|&&frame| self.frames.is_live(&self.forward.own[clock], frame)).count()
    }

    /// The frames of the part: the index of each, and its place in `[T][B]`.
    fn here(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let frames = self.order[self.part.frames.clone()].iter();
        frames.filter_map(|&frame| Some((frame, self.part.find(self.places[frame])?)))
    }

    /// Fills `[T][B]`: 1 at a live step by clock `clock`.
    fn live(&self, clock: usize, words: &mut [u32]) {
        words.fill(0);
        let own = &self.forward.own[clock];
        self.here().for_each(|(frame, at)| words[at] = u32::from(self.frames.is_live(own, frame)));
    }

    /// Fills `[2][T][B]`: the first half as [`Feed::Started`] says. A stream
    /// has also started if an earlier push says so.
    fn started(&self, clock: usize, words: &mut [u32]) {
        let batch = self.part.rows.len();
        let (up, down) = words.split_at_mut(self.part.time * batch);
        // A forward stack reads the first half only; until then the second holds the live steps.
        self.live(clock, down);
        let before = |b: usize| self.slots[self.part.rows.start + b].has_lived(clock);
        started(up, batch, StepOrder::Forward, before, |t, b| down[t * batch + b] != 0);
    }

    /// Fills `[T][B][padded features]` of input `input`.
    fn features(&self, input: usize, words: &mut [u32]) {
        let data: &mut [f32] = bytemuck::cast_slice_mut(words);
        data.fill(0.0);
        let width = data.len() / (self.part.time * self.part.rows.len());
        let unread = self.forward.unread(input);
        for (frame, at) in self.here() {
            // As at every dead step, features are 0 if the model itself takes the step out.
            if self.frames.is_live(unread, frame) {
                let features = self.frames.features(frame, input);
                data[at * width..][..features.len()].copy_from_slice(features);
            }
        }
    }

    /// Fills `[T][B]` of input `input`.
    fn tokens(&self, input: usize, words: &mut [u32]) {
        words.fill(0);
        for (frame, at) in self.here() {
            words[at] = u32::try_from(self.frames.token(frame, input)).expect("a checked token");
        }
    }
}

impl Forward {
    /// Writes what rows `rows` of the batch were given once as input `input`, and returns whether that input has no
    /// time axis. `once` is `[rows][features]`.
    pub(super) fn give_row(&self, input: usize, once: &[f32], rows: &Range<usize>, words: &mut [u32]) -> bool {
        let Some(row) = self.rows.iter().find(|row| row.input == input) else { return false };
        let data: &mut [f32] = bytemuck::cast_slice_mut(words);
        data.fill(0.0);
        let width = data.len() / rows.len();
        for (target, given) in data.chunks_exact_mut(width).zip(once.chunks_exact(self.row_width()).skip(rows.start)) {
            target[..row.size].copy_from_slice(&given[row.first..][..row.size]);
        }
        true
    }
}

impl HostIo for Push<'_, '_> {
    fn write(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        match write.feed {
            Feed::Features => self.features(self.forward.main, words),
            Feed::Tokens => self.tokens(self.forward.main, words),
            Feed::Other(input) => {
                if !self.forward.give_row(input, self.once, &self.part.rows, words) {
                    let of = self.forward.frames.iter().find(|part| part.input == input);
                    match of.map(|part| part.flow.tokens()) {
                        Some(Some(_)) => self.tokens(input, words),
                        _ => self.features(input, words),
                    }
                }
            }
            Feed::Live(clock) => self.live(clock, words),
            Feed::Started(clock) => self.started(clock, words),
            Feed::Draws => unreachable!("a push draws no tokens"),
            Feed::Targets(_)
            | Feed::Scale(_)
            | Feed::ClassWeights(_)
            | Feed::Order(_)
            | Feed::Starts(_)
            | Feed::Dropped { .. }
            | Feed::Scalars
            | Feed::Squares => {
                unreachable!("a push has no losses")
            }
            Feed::LiveBackwards(_) | Feed::StartedReversed(_) => unreachable!("streams go forward"),
            Feed::Hidden { .. } | Feed::Cell { .. } => unreachable!("states stay where they are"),
        }
        Ok(())
    }

    fn read(&mut self, read: Read, data: &[f32]) {
        if let Some(output) = output_of(read.fetch) {
            self.part.cut(data, (self.places, self.order), &self.forward.outputs[output], self.outputs);
        }
    }
}
