//! One push of streams as a plan's caller: frames laid out at their steps and rows, results cut out for each frame.
//!
//! Knows frames, steps and rows; knows no state and no device.

use std::ops::Range;

use crate::call::Own;
use crate::error::Result;
use crate::feed::{Order, seen, unpad_row};
use crate::kernel::padded;
use crate::plan::{Caller, Feed, Fetch, Read, Write};

use super::forward::{Forward, Given};
use super::streams::Slot;

/// What a frame has of one input of a model.
///
/// # Example
///
/// ```
/// use gatewave::FrameValue;
///
/// let frame = [("words", FrameValue::Token(3)), ("sensor", FrameValue::Features(&[0.5, 1.0]))];
/// # drop(frame);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FrameValue<'a> {
    /// Features.
    Features(&'a [f32]),
    /// A token.
    Token(i64),
}

/// The frames of a push, by number.
pub(super) enum Frames<'a> {
    /// Features of the one input.
    Features(&'a (dyn Fn(usize) -> &'a [f32] + Sync)),
    /// Tokens of the one input.
    Tokens(&'a (dyn Fn(usize) -> i64 + Sync)),
    /// What a frame has of an input, by its place among the model's.
    Named(&'a (dyn Fn(usize, usize) -> FrameValue<'a> + Sync)),
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The step, counted from the first of the push.
    pub(super) step: usize,
    /// The row of the batch.
    pub(super) row: usize,
}

/// Some steps and rows of a push.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The first step, and how many.
    pub(super) first: usize,
    pub(super) time: usize,
    /// Where the frames of these steps are in the push's order.
    pub(super) frames: Range<usize>,
    pub(super) rows: Range<usize>,
}

/// A part of a push, and what it is given.
pub(super) struct Push<'a, 'f> {
    pub(super) frames: &'a Frames<'f>,
    pub(super) places: &'a [Place],
    /// The frames, those of a part side by side.
    pub(super) order: &'a [usize],
    pub(super) slots: &'a [Slot],
    pub(super) forward: &'a Forward,
    /// What each row of the batch was given once, `[rows][features]`.
    pub(super) once: &'a [f32],
    pub(super) part: Part,
    /// `[frames][features]` of each output.
    pub(super) outputs: &'a mut [f32],
}

/// Which output of the model `fetch` is, counted from 0 among those that are no final states.
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
        | Fetch::InitialMemory { .. }
        | Fetch::Hidden { .. }
        | Fetch::HiddenPart { .. }
        | Fetch::Memory { .. } => None,
    }
}

impl Part {
    /// Where a frame is in `[T][B]`, if it is here.
    fn find(&self, place: Place) -> Option<usize> {
        let step = place.step.checked_sub(self.first).filter(|&step| step < self.time)?;
        self.rows.contains(&place.row).then(|| step * self.rows.len() + place.row - self.rows.start)
    }

    /// Cuts what the frames that are here give out of `data`, which a plan gave as output `given`: `[frames][features]` of
    /// each output.
    pub(super) fn cut(&self, data: &[f32], (places, order): (&[Place], &[usize]), given: &Given, outputs: &mut [f32]) {
        let features = given.features;
        let width = features.parts * padded(features.size);
        let outputs = &mut outputs[places.len() * given.first..];
        for &frame in &order[self.frames.clone()] {
            if let Some(at) = self.find(places[frame]) {
                // What has no time axis is one row for all steps.
                let at = if given.is_row { at % self.rows.len() } else { at };
                unpad_row(&data[at * width..], features, &mut outputs[frame * features.len()..][..features.len()]);
            }
        }
    }
}

impl Frames<'_> {
    /// The features that frame `frame` has of input `input`.
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

    /// The token that frame `frame` has of input `input`.
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

    /// Whether frame `frame` is a step to the model, as far as `own` says.
    pub(super) fn is_live(&self, own: &[(usize, Own)], frame: usize) -> bool {
        own.iter().all(|&(input, own)| match own {
            Own::Value(_) => own.keeps(self.features(frame, input)),
            Own::Token(_) => own.keeps_token(self.token(frame, input)),
        })
    }
}

impl Push<'_, '_> {
    /// How many frames of these steps, in whatever row, are steps by clock `clock` of the model.
    pub(super) fn live_frames(&self, clock: usize) -> usize {
        let frames = self.order[self.part.frames.clone()].iter();
        frames.filter(|&&frame| self.frames.is_live(&self.forward.own[clock], frame)).count()
    }

    /// The frames of the part: each with its number, and where it is in `[T][B]`.
    fn here(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let frames = self.order[self.part.frames.clone()].iter();
        frames.filter_map(|&frame| Some((frame, self.part.find(self.places[frame])?)))
    }

    /// `[T][B]`: 1 where there is a step by clock `clock`.
    fn live(&self, clock: usize, words: &mut [u32]) {
        words.fill(0);
        let own = &self.forward.own[clock];
        self.here().for_each(|(frame, at)| words[at] = u32::from(self.frames.is_live(own, frame)));
    }

    /// `[2][T][B]`: as [`Feed::Seen`] says, in the first half; a stream has been seen where an earlier push saw it.
    fn seen(&self, clock: usize, words: &mut [u32]) {
        let batch = self.part.rows.len();
        let (up, down) = words.split_at_mut(self.part.time * batch);
        // A forward stack looks at the first half alone; the second holds the steps meanwhile.
        self.live(clock, down);
        let before = |b: usize| self.slots[self.part.rows.start + b].has_lived(clock);
        seen(up, batch, Order::Kept, before, |t, b| down[t * batch + b] != 0);
    }

    /// `[T][B][padded features]` of input `input`.
    fn features(&self, input: usize, words: &mut [u32]) {
        let data: &mut [f32] = bytemuck::cast_slice_mut(words);
        data.fill(0.0);
        let width = data.len() / (self.part.time * self.part.rows.len());
        let unread = self.forward.unread(input);
        for (frame, at) in self.here() {
            // As at every dead step, features are 0 where the model itself takes the step out.
            if self.frames.is_live(unread, frame) {
                let features = self.frames.features(frame, input);
                data[at * width..][..features.len()].copy_from_slice(features);
            }
        }
    }

    /// `[T][B]` of input `input`.
    fn tokens(&self, input: usize, words: &mut [u32]) {
        words.fill(0);
        for (frame, at) in self.here() {
            words[at] = u32::try_from(self.frames.token(frame, input)).expect("a checked token");
        }
    }
}

impl Forward {
    /// Lays out what rows `rows` of the batch were given once as input `input`, if that has no time axis; `once` is
    /// `[rows][features]`.
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

impl Caller for Push<'_, '_> {
    fn give(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
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
            Feed::Seen(clock) => self.seen(clock, words),
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
            Feed::LiveBackwards(_) | Feed::SeenBackwards(_) => unreachable!("streams go forward"),
            Feed::Hidden { .. } | Feed::Memory { .. } => unreachable!("states stay where they are"),
        }
        Ok(())
    }

    fn take(&mut self, read: Read, data: &[f32]) {
        if let Some(output) = output_of(read.fetch) {
            self.part.cut(data, (self.places, self.order), &self.forward.outputs[output], self.outputs);
        }
    }
}
