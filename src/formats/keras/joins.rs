//! The layers that join tensors: `Concatenate` (of features and of
//! steps), `Add`, `Subtract`, `Multiply`, `Average`, `Maximum`.
//!
//! Knows how Keras broadcasts shapes; refuses what the model cannot express.

use super::activations::Version;
use super::builder::Builder;
use super::config::{Config, short, wrong};
use super::masks::{Makers, Mask, in_pieces};
use super::values::{Flow, Known, Source};
use crate::error::Result;
use crate::model::Join;

/// Returns the join of layer `class`, if it joins.
pub(super) fn of(class: &str) -> Option<Join> {
    Some(match class {
        "Concatenate" => Join::Concat,
        "Add" => Join::Add,
        "Subtract" => Join::Subtract,
        "Multiply" => Join::Multiply,
        "Average" => Join::Average,
        "Maximum" => Join::Maximum,
        _ => return None,
    })
}

impl Builder {
    /// Reads a layer that joins.
    pub(super) fn merge(&mut self, join: Join, config: &mut Config, tensors: Vec<Known>) -> Result<Known> {
        config.dtype()?;
        drop(config.take("batch_input_shape"));
        let tensors = tensors.iter().map(|tensor| self.settled(tensor)).collect::<Result<Vec<_>>>()?;
        let rows = tensors.iter().all(|tensor| matches!(tensor.flow, Flow::Rows(_)));
        let (join, axis) = match (join, config.take("axis")) {
            (Join::Concat, Some(axis)) if is_time(&axis) && !rows => (Join::ConcatSteps, None),
            (join, axis) => (join, axis),
        };
        let last = if rows { 1 } else { 2 };
        if let Some(axis) = axis
            && !matches!(axis.as_i64(), Some(n) if n == -1 || n == last)
        {
            let text = if rows { "-1 (the features)" } else { "-1 (the features) or 1 (time)" };
            return Err(wrong(format!("axis: expected {text}, got {}", short(&axis))));
        }
        let mask = match join {
            // A row has no steps.
            _ if rows => Mask::None,
            Join::ConcatSteps => Mask::in_pieces(&tensors.iter().map(Known::piece).collect::<Vec<_>>())?,
            join => self.joined_mask(&tensors, join == Join::Concat),
        };
        // Since 3.5, Keras leaves the masked steps of each value out of these two.
        let leaves_out = self.version == Version::Three && matches!(join, Join::Multiply | Join::Maximum) && !rows;
        if leaves_out && let Some(other) = tensors.iter().find(|tensor| tensor.mask != tensors[0].mask) {
            return Err(wrong(format!(
                "expected inputs under one mask, got {} and {} under different ones, whose masked steps Keras leaves out; mask \
                 them alike, or join them with Add or Concatenate",
                tensors[0].from, other.from
            )));
        }
        let unlike = (leaves_out && tensors[0].mask != Mask::None).then(|| self.place.clone());
        let known = self.join(join, tensors)?;
        Ok(Known { mask, unlike, ..known })
    }

    /// Concatenates the steps of `tensors`. The mask is left to the caller.
    fn join_steps(&mut self, tensors: &[Known]) -> Result<Known> {
        let (first, mut time) = (&tensors[0], Some(0_usize));
        for tensor in tensors {
            let (features, steps) = match tensor.flow {
                Flow::Steps { features: Some(features), time, bare: false } => (features, time),
                Flow::OneStep(features) => (features, Some(1)),
                _ => {
                    let text = format!(
                        "expected sequences of features to join over time, got {} of {}",
                        tensor.shape(),
                        tensor.from
                    );
                    return Err(wrong(text));
                }
            };
            if first.features() != Some(features) {
                let (a, b) = (first.shape(), tensor.shape());
                let text = format!(
                    "expected inputs of equal features to join over time, got {a} of {} and {b} of {}",
                    first.from, tensor.from
                );
                return Err(wrong(text));
            }
            time = time.zip(steps).and_then(|(all, steps)| all.checked_add(steps));
        }
        let held = in_pieces(tensors.iter().map(|tensor| (&tensor.held, &tensor.from)))?;
        let from = tensors.iter().map(|tensor| self.edge(tensor)).collect::<Result<Vec<_>>>()?;
        let source = Source::Whole(self.add("", Join::ConcatSteps, from, [None; 2]));
        let flow = Flow::Steps { time, features: first.features(), bare: false };
        Ok(Known { flow, source, held, ..Known::steps(Mask::None, &self.place) })
    }

    /// Applies `join` to `tensors`. The mask is left to the caller.
    pub(super) fn join(&mut self, join: Join, tensors: Vec<Known>) -> Result<Known> {
        let tensors = tensors.iter().map(|tensor| self.settled(tensor)).collect::<Result<Vec<_>>>()?;
        match (tensors.len(), join) {
            (0, _) => return Err(wrong("expected two inputs or more, got none".into())),
            (1, Join::Concat | Join::ConcatSteps) => return Ok(tensors[0].clone()),
            (2, _) => {}
            (got, Join::Subtract) => return Err(wrong(format!("expected two inputs, got {got}"))),
            (1, _) => return Err(wrong("expected two inputs or more, got 1".into())),
            _ => {}
        }
        if join == Join::ConcatSteps {
            return self.join_steps(&tensors);
        }
        if join == Join::Multiply
            && let Some(known) = self.weighted(&tensors)?
        {
            return Ok(known);
        }
        let unfit = |what: &str, one: &Known, other: &Known| {
            let (a, b) = (one.shape(), other.shape());
            Err(wrong(format!("expected inputs of {what}, got {a} of {} and {b} of {}", one.from, other.from)))
        };
        let (first, mut widths, mut time) = (&tensors[0], Vec::new(), None);
        let (mut held, mut timed) = (Makers::new(), None::<&Known>);
        for tensor in &tensors {
            let (Some(features), Flow::Steps { bare: false, .. } | Flow::Rows(_) | Flow::OneStep(_)) =
                (tensor.features(), &tensor.flow)
            else {
                return Err(wrong(format!("expected features, got {} of {}", tensor.shape(), tensor.from)));
            };
            if join != Join::Concat && tensor.features() != first.features() {
                return unfit("equal features", first, tensor);
            }
            let kind = |known: &Known| std::mem::discriminant(&known.flow);
            // A row is combined with every step, but not with a row that is one step.
            if kind(tensor) != kind(first)
                && (join == Join::Concat || !tensors.iter().any(|tensor| matches!(tensor.flow, Flow::Steps { .. })))
            {
                return unfit("as many axes", first, tensor);
            }
            if let Flow::Steps { time: steps, .. } = tensor.flow {
                // One step would be combined with every step of the other.
                let broadcast = timed
                    .filter(|_| steps != time && (steps == Some(1) || time == Some(1) || steps.and(time).is_some()));
                if let Some(other) = broadcast {
                    return unfit("equal steps", other, tensor);
                }
                held.extend(tensor.held.iter().cloned());
                (time, timed) = (time.or(steps), Some(tensor));
            }
            widths.push((tensor.source, features));
        }
        let features = if join == Join::Concat {
            widths.iter().fold(0, |all: usize, (_, features)| all.saturating_add(*features))
        } else {
            widths[0].1
        };
        let source = match Source::merged(&widths).filter(|_| join == Join::Concat) {
            Some(source) => source,
            None => {
                let from = tensors.iter().map(|tensor| self.edge(tensor)).collect::<Result<Vec<_>>>()?;
                Source::Whole(self.add("", join, from, [None; 2]))
            }
        };
        let flow = match timed {
            Some(_) => Flow::Steps { time, features: Some(features), bare: false },
            None if matches!(first.flow, Flow::OneStep(_)) => Flow::OneStep(features),
            None => Flow::Rows(features),
        };
        Ok(Known { flow, source, held, ..Known::steps(Mask::None, &self.place) })
    }
}

/// Whether `axis` is the time axis of a sequence.
pub(super) fn is_time(axis: &serde_json::Value) -> bool {
    matches!(axis.as_i64(), Some(1 | -2))
}
