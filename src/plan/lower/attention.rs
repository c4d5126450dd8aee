//! Attention: scores of all steps for each row of a query, their softmax, and the sums that it weighs.
//!
//! Queries go chunk by chunk, and each dispatch takes as many steps of the value as one binding holds.

use std::ops::Range;

use super::dispatch::{lanes, word};
use super::ops::{Attending, Axis, Op, Sequence, Span};
use super::{Chunk, Lowering, needed};
use crate::error::{Error, Result};
use crate::kernel::{Attend, Params, Program, Role, Scoring, WORKGROUP, padded};
use crate::layout::depth;
use crate::model::{Features, Scores};
use crate::plan::{SlotKind, Window};

/// What an attention takes, and where it leaves its scores and shares: `[R][B][padded steps]`.
#[derive(Clone, Copy)]
pub(super) struct Attended {
    pub(super) of: Attending,
    /// The query, unless scores are given.
    pub(super) query: Option<Sequence>,
    pub(super) key: Sequence,
    pub(super) value: Sequence,
    pub(super) scores: Sequence,
    pub(super) shares: Sequence,
}

/// How rows are summed by shares.
pub(super) struct Summing {
    /// `Blend` or `ScoresBack`.
    pub(super) attend: Attend,
    pub(super) scale: f32,
    /// The features of the result, if its padding must become 0.
    pub(super) features: Option<usize>,
    /// The rows that each row of the result belongs to, if `ScoresBack` needs them.
    pub(super) other: Option<Sequence>,
    /// The weight of additive scores.
    pub(super) weight: Option<Window>,
}

impl Summing {
    /// Sums rows of a value.
    pub(super) fn blend(transposed: bool, first: bool) -> Self {
        let attend = Attend::Blend { transposed, first };
        Self { attend, scale: 1.0, features: None, other: None, weight: None }
    }

    fn is_transposed(&self) -> bool {
        match self.attend {
            Attend::Blend { transposed, .. } => transposed,
            Attend::ScoresBack { of, .. } => of.is_transposed(),
            Attend::Scores(_) | Attend::Shares { .. } => false,
        }
    }
}

impl Lowering<'_> {
    /// Makes the slots of an attention that takes `taken`.
    pub(super) fn attended(&mut self, op: &Op, of: Attending, taken: &[Sequence]) -> Result<Attended> {
        let (query, key, value) = match *taken {
            [key, value] if of.scores == Scores::Given => (None, key, value),
            [query, key, value] => (Some(query), key, value),
            _ => return Err(Error::internal(format!("layer {}: expected query, key and value", op.layer))),
        };
        let time = op.axis.time(self.shape);
        let span = if op.axis != Axis::Rows && time > self.chunk { Span::Chunk } else { Span::Whole };
        let dims = [time.min(self.chunk), self.shape.batch, padded(of.steps)];
        let mut rows = |name: &str| {
            let slot = self.slot(format!("{}.{name}", op.layer), SlotKind::Scratch, &dims);
            Sequence { slot, first: 0, features: Features::one(of.steps), axis: op.axis, span }
        };
        let (scores, shares) = (rows("scores"), rows("shares"));
        if (value.features, op.axis == Axis::Rows) != (op.features, query.is_none_or(|query| query.axis == Axis::Rows))
        {
            return Err(Error::internal(format!("layer {}: expected the features of a value", op.layer)));
        }
        Ok(Attended { of, query, key, value, scores, shares })
    }

    /// Emits the dispatches of an attention for `chunk` of the query.
    pub(super) fn attention(&mut self, attended: &Attended, result: Sequence, chunk: Chunk) -> Result<()> {
        let value = attended.value;
        self.shares_of(attended, chunk)?;
        for (index, steps) in self.steps_of(attended.of.steps).into_iter().enumerate() {
            let how = Summing::blend(false, index == 0);
            self.sum(&how, (attended.shares, Some(value)), (result, chunk), (chunk, steps))?;
        }
        Ok(())
    }

    /// Emits the scores of `chunk` of the query, and their softmax.
    pub(super) fn shares_of(&mut self, attended: &Attended, chunk: Chunk) -> Result<()> {
        let &Attended { of, query, key, .. } = attended;
        let scoring = match (of.scores, of.weight) {
            (Scores::Dot | Scores::ScaledDot, _) => Scoring::Dot,
            (Scores::Given, _) => Scoring::Given,
            (Scores::Additive, None) => Scoring::Additive,
            (Scores::Additive, Some(_)) => Scoring::Weighted(self.layout.storage.of_tables()),
        };
        let weight = of.weight.map(|buffer| self.weights(buffer)).map(|slot| self.whole(slot));
        self.scores((scoring, of.scale), (query, key, weight), attended.scores, chunk)?;
        self.shares(attended, chunk)
    }

    /// Returns the stretches of `steps` steps that a dispatch binds and loops over.
    pub(super) fn steps_of(&self, steps: usize) -> Vec<Range<usize>> {
        let loops = self.most_iterations(16);
        // A window begins where a chunk does.
        let most = if steps <= self.chunk { steps } else { self.chunk };
        let most = most.min(loops).max(1);
        (0..steps).step_by(most).map(|first| first..(first + most).min(steps)).collect()
    }

    /// Returns the window with `steps` of a whole sequence, and the window's row where they begin.
    fn stretch(&self, sequence: Sequence, steps: &Range<usize>) -> (Window, usize) {
        let first = sequence.first + steps.start;
        let (window, base) = self.rows(sequence, first, steps.len());
        (window, first - base)
    }

    /// Emits the scores of all steps of `key` for the rows of `chunk`.
    pub(super) fn scores(
        &mut self,
        (scoring, scale): (Scoring, f32),
        (query, key, weight): (Option<Sequence>, Sequence, Option<Window>),
        scores: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let batch = self.shape.batch;
        let read = query.map(|query| self.rows_of_chunk(query, chunk));
        let (result, first_target) = self.rows_of_chunk(scores, chunk);
        // Padding is no number that counts, unless it is 0: in a gradient, and in all that has several parts.
        let features = if key.features.parts > 1 { depth(key.features) } else { key.features.size };
        for steps in self.steps_of(scores.features.size) {
            let (key_window, first_key) = self.stretch(key, &steps);
            for (row, rows) in self.pieces(chunk.len * batch, 1) {
                let params = Params {
                    rows: word(rows),
                    batch: word(batch),
                    units: word(depth(key.features)),
                    features: word(features),
                    source_units: word(depth(scores.features)),
                    source_0: word(read.map_or(0, |(_, first)| first + row)),
                    source_1: word(first_key * batch),
                    target_0: word(first_target + row),
                    offset: word(steps.start),
                    steps: word(steps.len()),
                    scale: scale.to_bits(),
                    ..Params::default()
                };
                let windows = [
                    (Role::Weights, weight),
                    (Role::Source, read.map(|(window, _)| window)),
                    (Role::Key, Some(key_window)),
                    (Role::Result, Some(result)),
                ];
                let grid = [steps.len().div_ceil(WORKGROUP as usize), rows, 1];
                self.dispatch(Program::Attend(Attend::Scores(scoring)), params, grid, &windows)?;
            }
        }
        Ok(())
    }

    /// Emits the softmax of the scores of `chunk`, over the steps that each row sees.
    fn shares(&mut self, attended: &Attended, chunk: Chunk) -> Result<()> {
        let &Attended { of, scores, shares, .. } = attended;
        let batch = self.shape.batch;
        let mask = self.shape.steps(of.clock).mask;
        let live = self.live(of.clock);
        let (source, first_source) = self.rows_of_chunk(scores, chunk);
        let (result, first_target) = self.rows_of_chunk(shares, chunk);
        // The step of the query in the window's first row.
        let step = chunk.start - first_target / batch;
        for (row, rows) in self.pieces(chunk.len * batch, 1) {
            let params = Params {
                rows: word(rows),
                batch: word(batch),
                directions: 1,
                units: word(depth(scores.features)),
                features: word(of.steps),
                source_0: word(first_source + row),
                target_0: word(first_target + row),
                offset: word(step),
                ..Params::default()
            };
            let windows = [
                (Role::Source, Some(source)),
                (Role::Live, live.map(|slot| self.whole(slot))),
                (Role::Result, Some(result)),
            ];
            let program = Program::Attend(Attend::Shares { mask, causal: of.causal });
            self.dispatch(program, params, [1, rows, 1], &windows)?;
        }
        Ok(())
    }

    /// Emits sums of rows of `source` by `shares`, into the rows of a chunk of `result`. The sum is over a stretch of
    /// steps of the source, for the rows of a chunk of the query; transposed, it is over the rows of that chunk.
    pub(super) fn sum(
        &mut self,
        how: &Summing,
        (shares, source): (Sequence, Option<Sequence>),
        (result, target): (Sequence, Chunk),
        (chunk, steps): (Chunk, Range<usize>),
    ) -> Result<()> {
        let (batch, transposed) = (self.shape.batch, how.is_transposed());
        let (shares_window, first_share) = self.rows_of_chunk(shares, chunk);
        let (result_window, first_target) = self.rows_of_chunk(result, target);
        let source = source.map(|source| match transposed {
            true => self.rows_of_chunk(source, chunk),
            false => {
                let (window, step) = self.stretch(source, &steps);
                (window, step * batch)
            }
        });
        let other = how.other.map(|other| self.rows_of_chunk(other, target));
        let (column, count) = if transposed {
            // The step in the window's first row.
            (needed(target.start.checked_sub(first_target / batch), "a window of steps")?, chunk.len)
        } else {
            (steps.start, steps.len())
        };
        let width = depth(result.features);
        for (row, rows) in self.pieces(target.len * batch, 1) {
            let params = Params {
                rows: word(rows),
                batch: word(batch),
                units: word(width),
                features: word(how.features.unwrap_or(width)),
                source_units: word(depth(shares.features)),
                source_0: word(source.map_or(0, |(_, first)| first)),
                source_1: word(first_share + if transposed { 0 } else { row }),
                kept_0: word(other.map_or(0, |(_, first)| first + row)),
                target_0: word(first_target + row),
                source_offset: word(column),
                steps: word(count),
                scale: how.scale.to_bits(),
                ..Params::default()
            };
            let windows = [
                (Role::Weights, how.weight),
                (Role::Shares, Some(shares_window)),
                (Role::Source, source.map(|(window, _)| window)),
                (Role::Other, other.map(|(window, _)| window)),
                (Role::Result, Some(result_window)),
            ];
            self.dispatch(Program::Attend(how.attend), params, [lanes(width), rows, 1], &windows)?;
        }
        Ok(())
    }
}
