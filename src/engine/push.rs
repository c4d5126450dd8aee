//! One push of streams as a plan's caller: frames laid out at their steps and rows, results cut out for each frame.
//!
//! Knows frames, steps and rows; knows no state and no device.

use std::ops::Range;

use crate::call::Own;
use crate::error::Result;
use crate::feed::{Order, seen, unpad_row};
use crate::kernel::padded;
use crate::model::Features;
use crate::plan::{Caller, Feed, Fetch, Read, Write};

use super::streams::Slot;

/// The frames of a push, by number.
pub(super) enum Frames<'a> {
    /// Features.
    Features(&'a (dyn Fn(usize) -> &'a [f32] + Sync)),
    /// Tokens.
    Tokens(&'a (dyn Fn(usize) -> i64 + Sync)),
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
    /// Which frames are no steps to the stacks, and of which the features are not read.
    pub(super) own: &'a [Own],
    pub(super) unread: &'a [Own],
    pub(super) part: Part,
    /// Of the output, and `[frames][features]` of it.
    pub(super) features: Features,
    pub(super) outputs: &'a mut [f32],
}

impl Part {
    /// Where a frame is in `[T][B]`, if it is here.
    fn find(&self, place: Place) -> Option<usize> {
        let step = place.step.checked_sub(self.first).filter(|&step| step < self.time)?;
        self.rows.contains(&place.row).then(|| step * self.rows.len() + place.row - self.rows.start)
    }

    /// Cuts what the frames that are here give out of `data`, the output of a plan: `[frames][features]`.
    pub(super) fn cut(
        &self,
        data: &[f32],
        (places, order): (&[Place], &[usize]),
        features: Features,
        outputs: &mut [f32],
    ) {
        let width = features.parts * padded(features.size);
        for &frame in &order[self.frames.clone()] {
            if let Some(at) = self.find(places[frame]) {
                unpad_row(&data[at * width..], features, &mut outputs[frame * features.len()..][..features.len()]);
            }
        }
    }
}

impl Frames<'_> {
    /// Whether frame `frame` is a step to the model.
    pub(super) fn is_live(&self, own: &[Own], frame: usize) -> bool {
        own.iter().all(|own| match self {
            Self::Features(features) => own.keeps(features(frame)),
            Self::Tokens(token) => own.keeps_token(token(frame)),
        })
    }
}

impl Push<'_, '_> {
    /// How many frames of these steps, in whatever row, are steps to the model.
    pub(super) fn live_frames(&self) -> usize {
        let frames = self.order[self.part.frames.clone()].iter();
        frames.filter(|&&frame| self.frames.is_live(self.own, frame)).count()
    }

    /// The frames of the part: each with its number, and where it is in `[T][B]`.
    fn here(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let frames = self.order[self.part.frames.clone()].iter();
        frames.filter_map(|&frame| Some((frame, self.part.find(self.places[frame])?)))
    }

    /// `[T][B]`: 1 where there is a step.
    fn live(&self, words: &mut [u32]) {
        words.fill(0);
        self.here().for_each(|(frame, at)| words[at] = u32::from(self.frames.is_live(self.own, frame)));
    }

    /// `[2][T][B]`: as [`Feed::Seen`] says, in the first half; a stream has been seen where an earlier push saw it.
    fn seen(&self, words: &mut [u32]) {
        let batch = self.part.rows.len();
        let (up, down) = words.split_at_mut(self.part.time * batch);
        // A forward stack looks at the first half alone; the second holds the steps meanwhile.
        self.live(down);
        let before = |b: usize| self.slots[self.part.rows.start + b].has_lived;
        seen(up, batch, Order::Kept, before, |t, b| down[t * batch + b] != 0);
    }
}

impl Caller for Push<'_, '_> {
    fn give(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        match (write.feed, self.frames) {
            (Feed::Features, Frames::Features(features)) => {
                let data: &mut [f32] = bytemuck::cast_slice_mut(words);
                data.fill(0.0);
                let width = data.len() / (self.part.time * self.part.rows.len());
                for (frame, at) in self.here() {
                    // As at every dead step, features are 0 where the model itself takes the step out.
                    if self.frames.is_live(self.unread, frame) {
                        let features = features(frame);
                        data[at * width..][..features.len()].copy_from_slice(features);
                    }
                }
            }
            (Feed::Tokens, Frames::Tokens(token)) => {
                words.fill(0);
                self.here().for_each(|(frame, at)| words[at] = u32::try_from(token(frame)).expect("a checked token"));
            }
            (Feed::Live(_), _) => self.live(words),
            (Feed::Seen(_), _) => self.seen(words),
            (Feed::Features | Feed::Tokens, _) => unreachable!("frames are what the model begins with"),
            (Feed::Other(_), _) => unreachable!("streams have one input"),
            (Feed::Draws, _) => unreachable!("a push draws no tokens"),
            (Feed::Targets(_) | Feed::Scale(_) | Feed::ClassWeights(_) | Feed::Order(_) | Feed::Starts(_), _) => {
                unreachable!("a push has no losses")
            }
            (Feed::LiveBackwards(_) | Feed::SeenBackwards(_), _) => unreachable!("streams go forward"),
            (Feed::Hidden { .. } | Feed::Memory { .. }, _) => unreachable!("states stay where they are"),
        }
        Ok(())
    }

    fn take(&mut self, read: Read, data: &[f32]) {
        if read.fetch == Fetch::Output {
            self.part.cut(data, (self.places, self.order), self.features, self.outputs);
        }
    }
}
