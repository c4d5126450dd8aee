//! The backward pass of attention, chunk by chunk of the query.
//!
//! The shares of a chunk are computed once more, unless one slot has held all of them. With δy the gradient of the sums:
//! δa = δy · value, δs = a ∘ (δa − Σ a ∘ δa), and the value takes a, transposed, times δy. `oracle/attention.rs` has the
//! gradients of query, key and weight.

use super::Back;
use super::sums::Summed;
use crate::error::Result;
use crate::kernel::{Attend, ScoresBackOf, Scoring, Training};
use crate::layout::depth;
use crate::model::{Features, Scores};
use crate::plan::lower::Chunk;
use crate::plan::lower::attention::{Attended, Summing};
use crate::plan::lower::ops::{Sequence, Span};
use crate::plan::lower::stage::Stage;

/// Where the gradients of what an attention takes are, if they are wanted.
struct Taken {
    query: Option<Sequence>,
    key: Option<Sequence>,
    value: Option<Sequence>,
}

impl Back<'_, '_> {
    /// Emits the backward pass of an attention.
    pub(super) fn attention(
        &mut self,
        stage: &Stage<'_>,
        attended: &Attended,
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        // Query, key and value may be one value, to which each adds.
        let mut targets = Vec::new();
        for &source in &stage.op.from {
            let target = self.given(source).map(|given| self.begin(given, false)).transpose()?;
            targets.push(target.map(|(target, _)| target));
        }
        let taken = match targets[..] {
            [query, key, value] => Taken { query, key, value },
            [key, value] => Taken { query: None, key, value },
            _ => Taken { query: None, key: None, value: None },
        };
        let dims = self.low.plan.slots[attended.shares.slot].dims.clone();
        let name = |of: &str| format!("{of}.{}.{}", dims[0], dims[2]);
        let [of_shares, of_scores] = ["share_gradients", "score_gradients"].map(|of| self.handed(&name(of), &dims));
        let [of_shares, of_scores] = [of_shares, of_scores].map(|slot| Sequence { slot, ..attended.shares });
        for chunk in self.chunks(time) {
            if attended.shares.span == Span::Chunk {
                self.low.shares_of(attended, chunk)?;
            }
            let products = (Some(delta), attended.value, None);
            self.low.scores((Scoring::Dot, 1.0), products, of_shares, chunk)?;
            let back = Training::SoftmaxBack { log: false };
            self.by_rows(back, 1, (attended.shares, None), of_shares, of_scores, chunk)?;
            if let Some(target) = taken.value {
                self.each_step(&Summing::blend(true, false), (attended.shares, Some(delta)), target, chunk)?;
            }
            self.scores_back(stage, attended, (of_scores, &taken), chunk)?;
        }
        Ok(())
    }

    /// Emits the gradients of query, key and weight from those of the scores.
    fn scores_back(
        &mut self,
        stage: &Stage<'_>,
        attended: &Attended,
        (scores, taken): (Sequence, &Taken),
        chunk: Chunk,
    ) -> Result<()> {
        let Attended { of, query, key, .. } = *attended;
        let (scale, features) = (of.scale, Some(key.features.size));
        let weight = of.weight.map(|buffer| self.low.weights(buffer)).map(|slot| self.low.whole(slot));
        let curved = |of: ScoresBackOf, other: Option<Sequence>| Summing {
            attend: Attend::ScoresBack { of, weighted: weight.is_some() && of != ScoresBackOf::Given, first: false },
            scale,
            features,
            other,
            weight: weight.filter(|_| of != ScoresBackOf::Given),
        };
        let plain = |transposed: bool| Summing { scale, features, ..Summing::blend(transposed, false) };
        match of.scores {
            Scores::Given => {
                if let Some(target) = taken.key {
                    self.each_step(&curved(ScoresBackOf::Given, None), (scores, None), target, chunk)?;
                }
            }
            Scores::Dot | Scores::ScaledDot => {
                if let Some(target) = taken.query {
                    self.each_stretch(&plain(false), (scores, key), target, chunk)?;
                }
                if let Some(target) = taken.key {
                    self.each_step(&plain(true), (scores, query), target, chunk)?;
                }
            }
            Scores::Additive => {
                if let Some(target) = taken.query {
                    self.each_stretch(&curved(ScoresBackOf::Query, query), (scores, key), target, chunk)?;
                }
                if let Some(target) = taken.key {
                    self.each_step(&curved(ScoresBackOf::Key, Some(key)), (scores, query), target, chunk)?;
                }
                if let Some(buffer) = of.weight {
                    let rows = self.scratch("of_weight", stage.op.axis, Features::one(key.features.size));
                    let zero = Summing {
                        attend: Attend::ScoresBack { of: ScoresBackOf::Weight, weighted: false, first: true },
                        weight: None,
                        ..curved(ScoresBackOf::Weight, query)
                    };
                    self.each_stretch(&zero, (scores, key), rows, chunk)?;
                    self.sum_rows(rows, buffer, chunk)?;
                }
            }
        }
        Ok(())
    }

    /// Emits sums over all steps of `source` into the rows of `chunk` of `target`. Only the first may set it.
    fn each_stretch(
        &mut self,
        how: &Summing,
        (scores, source): (Sequence, Sequence),
        target: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        for (index, steps) in self.low.steps_of(scores.features.size).into_iter().enumerate() {
            let attend = match how.attend {
                Attend::ScoresBack { of, weighted, first: true } if index > 0 => {
                    Attend::ScoresBack { of, weighted, first: false }
                }
                Attend::ScoresBack { .. } | Attend::Blend { .. } | Attend::Scores(_) | Attend::Shares { .. } => {
                    how.attend
                }
            };
            let how = Summing { attend, ..*how };
            self.low.sum(&how, (scores, Some(source)), (target, chunk), (chunk, steps))?;
        }
        Ok(())
    }

    /// Emits sums over the rows of `chunk` into all steps of `target`.
    fn each_step(
        &mut self,
        how: &Summing,
        (scores, source): (Sequence, Option<Sequence>),
        target: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let most = self.low.most_iterations(16);
        let steps = target.axis.time(self.low.shape);
        for first in (0..chunk.len).step_by(most) {
            let len = most.min(chunk.len - first);
            let part = Chunk { at: chunk.at + first, start: chunk.start + first, len, ..chunk };
            for to in self.chunks(steps) {
                self.low.sum(how, (scores, source), (target, to), (part, 0..steps))?;
            }
        }
        Ok(())
    }

    /// Adds the rows of `chunk` of `rows` to the gradient of packed buffer `buffer`, which is one row.
    fn sum_rows(&mut self, rows: Sequence, buffer: usize, chunk: Chunk) -> Result<()> {
        let (slot, first) = self.gradient_of(buffer, 0);
        let (window, row) = self.low.rows_of_chunk(rows, chunk);
        let steps = chunk.len * self.low.shape.batch;
        let summed = Summed { window, first: row, steps, batch: 1, width: depth(rows.features) };
        self.sum_steps(summed, (self.low.whole(slot), 0), first)
    }
}
