//! The begin of gradients: the loss of each row of an output, and its gradient.

use super::{Back, GradientOf};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Params, Program, Role, RowTargets, Training, WORKGROUP};
use crate::layout::depth;
use crate::plan::lower::dispatch::word;
use crate::plan::lower::ops::{Op, OpKind, Ops, Source};
use crate::plan::{Feed, Fetch, GradientSink, LossTerm, SlotId, SlotKind, train_state};

/// Returns the value that the loss `term` compares: an output, or the input of its last function.
///
/// # Errors
///
/// Returns an error of kind `Model` if there is no such output.
pub(in crate::plan::lower) fn loss_source(all: &mut Ops, term: LossTerm) -> Result<Source> {
    let output = all.outputs.get(term.output).copied().ok_or_else(|| {
        let text = format!("a loss: expected one of {} outputs, got output {}", all.outputs.len(), term.output);
        Error::new(ErrorKind::Model, text)
    })?;
    Ok(if term.logits { logits(all, output) } else { output })
}

/// Returns the input of the function that gives `source`, seen through a selection of the last step.
fn logits(all: &mut Ops, source: Source) -> Source {
    let Source::Op(index) = source else { return source };
    let op = all.ops[index].clone();
    match (&op.kind, op.from.first()) {
        (OpKind::Rowwise { .. }, Some(&before)) => before,
        (OpKind::LastStep, Some(&before)) => {
            let inner = logits(all, before);
            if inner == before {
                return source;
            }
            all.ops.push(Op { from: vec![inner], ..op });
            Source::Op(all.ops.len() - 1)
        }
        _ => source,
    }
}

impl Back<'_, '_> {
    /// Emits the loss of term `index`, which compares `source`, and the gradient that it begins.
    pub(super) fn loss(&mut self, index: usize, source: Source) -> Result<()> {
        let LossTerm { loss, .. } = self.wants.losses[index];
        let value = self.low.features(source, self.stages)?;
        let (time, batch) = (value.axis.time(self.low.shape), self.low.shape.batch);
        let width = depth(value.features);
        let losses = self.low.slot(format!("losses.{index}"), SlotKind::Scratch, &[time, batch]);
        let scale = self.low.slot(format!("scale.{index}"), SlotKind::Input, &[time, batch]);
        self.low.write(Feed::Scale(index), scale, 0, time);
        let targets = match loss.targets() {
            RowTargets::Classes => Some(self.low.slot(format!("targets.{index}"), SlotKind::Index, &[time, batch])),
            RowTargets::Values => {
                Some(self.low.slot(format!("targets.{index}"), SlotKind::Input, &[time, batch, width]))
            }
            RowTargets::None => None,
        };
        if let Some(targets) = targets {
            self.low.write(Feed::Targets(index), targets, 0, time);
        }
        let program = Program::Training(Training::Loss(loss));
        let weighted = program.bindings().any(|binding| binding.role == Role::ClassWeights);
        let class_weights =
            weighted.then(|| self.low.slot(format!("class_weights.{index}"), SlotKind::Input, &[width]));
        if let Some(slot) = class_weights {
            self.low.write(Feed::ClassWeights(index), slot, 0, width);
        }
        // Another loss may compare the same output: its gradient goes into scratch first, and is then added.
        let given = match source {
            Source::Op(op) => GradientOf::Op(op),
            Source::Input(input) => GradientOf::Input(input),
        };
        let by_values = loss.targets() == RowTargets::Values;
        self.each_row(given, value, time, |back, target, chunk| {
            let low = &mut *back.low;
            let (source, first_source) = low.rows_of_chunk(value, chunk);
            let (result, first_result) = low.rows_of_chunk(target, chunk);
            let at = chunk.start * batch;
            for (first, rows) in low.pieces(chunk.len * batch, 1) {
                let params = Params {
                    rows: word(rows),
                    directions: word(value.features.parts),
                    units: word(width / value.features.parts),
                    features: word(value.features.size),
                    source_0: word(first_source + first),
                    source_1: word(at + first),
                    target_0: word(first_result + first),
                    ..Params::default()
                };
                let windows = [
                    (Role::Source, Some(source)),
                    (Role::Tokens, targets.filter(|_| !by_values).map(|slot| low.whole(slot))),
                    (Role::Values, targets.filter(|_| by_values).map(|slot| low.whole(slot))),
                    (Role::Scale, Some(low.whole(scale))),
                    (Role::ClassWeights, class_weights.map(|slot| low.whole(slot))),
                    (Role::Result, Some(result)),
                    (Role::Losses, Some(low.whole(losses))),
                ];
                low.dispatch(program, params, [1, rows, 1], &windows)?;
            }
            Ok(())
        })?;
        self.low.read(Fetch::Losses(index), losses, 0, time);
        if let GradientSink::Accumulate { first } = self.wants.sink {
            self.finite(losses, time * batch, first && index == 0)?;
        }
        Ok(())
    }

    /// Reports whether all `count` losses are finite: adds 0 or NaN to the sum that an update reads.
    fn finite(&mut self, losses: SlotId, count: usize, first: bool) -> Result<()> {
        let low = &mut *self.low;
        let sums = *self.sums.get_or_insert_with(|| {
            low.slot("sums", SlotKind::TrainState(train_state::SUMS), &[train_state::OF_LOSS + 1])
        });
        // The device's limit of loop iterations.
        let most = self.low.most_iterations(2 * WORKGROUP as usize);
        for at in (0..count).step_by(most) {
            let params = Params {
                source_0: word(at),
                count: word(most.min(count - at)),
                target_0: word(train_state::OF_LOSS),
                scale: 0.0_f32.to_bits(),
                ..Params::default()
            };
            let windows = [(Role::Source, Some(self.low.whole(losses))), (Role::Result, Some(self.low.whole(sums)))];
            let program = Program::Training(Training::Total { first: first && at == 0 });
            self.low.dispatch(program, params, [1, 1, 1], &windows)?;
        }
        Ok(())
    }
}
