//! The layers that join tensors: `Concatenate`, `Add`, `Subtract`, `Multiply`, `Average`, `Maximum`.
//!
//! Knows shapes as Keras broadcasts them; what cannot be said here is refused.

use super::builder::Builder;
use super::config::{Config, short, wrong};
use super::masks::{Makers, Mask};
use super::values::{Flow, Known, Source};
use crate::error::Result;
use crate::model::Join;

/// What the layer `class` does with what it takes, if it joins.
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
    /// A layer that joins.
    pub(super) fn merge(&mut self, join: Join, config: &mut Config, tensors: Vec<Known>) -> Result<Known> {
        config.dtype()?;
        drop(config.take("batch_input_shape"));
        let mask = self.joined_mask(&tensors, join == Join::Concat);
        let axis = config.take("axis");
        let known = self.join(join, tensors)?;
        let last = if matches!(known.flow, Flow::Rows(_)) { 1 } else { 2 };
        if let Some(axis) = axis
            && !matches!(axis.as_i64(), Some(n) if n == -1 || n == last)
        {
            return Err(wrong(format!("axis: expected -1 (the features), got {}", short(&axis))));
        }
        // A row has no steps.
        let mask = if last == 1 { Mask::None } else { mask };
        Ok(Known { mask, ..known })
    }

    /// What `join` makes of `tensors`. Its mask is not said.
    pub(super) fn join(&mut self, join: Join, tensors: Vec<Known>) -> Result<Known> {
        let tensors = tensors.iter().map(|tensor| self.settled(tensor)).collect::<Result<Vec<_>>>()?;
        match (tensors.len(), join) {
            (0, _) => return Err(wrong("expected two inputs or more, got none".into())),
            (1, Join::Concat) => return Ok(tensors[0].clone()),
            (2, _) => {}
            (got, Join::Subtract) => return Err(wrong(format!("expected two inputs, got {got}"))),
            (1, _) => return Err(wrong("expected two inputs or more, got 1".into())),
            _ => {}
        }
        let unfit = |what: &str, one: &Known, other: &Known| {
            let (a, b) = (one.shape(), other.shape());
            Err(wrong(format!("expected inputs of {what}, got {a} of {} and {b} of {}", one.from, other.from)))
        };
        let (first, mut widths, mut time) = (&tensors[0], Vec::new(), None);
        let (mut held, mut timed) = (Makers::new(), None::<&Known>);
        for tensor in &tensors {
            let (Some(features), Flow::Steps { bare: false, .. } | Flow::Rows(_)) = (tensor.features(), &tensor.flow)
            else {
                return Err(wrong(format!("expected features, got {} of {}", tensor.shape(), tensor.from)));
            };
            if join != Join::Concat && tensor.features() != first.features() {
                return unfit("equal features", first, tensor);
            }
            let has_time = |known: &Known| matches!(known.flow, Flow::Steps { .. });
            if join == Join::Concat && has_time(tensor) != has_time(first) {
                return unfit("as many axes", first, tensor);
            }
            if let Flow::Steps { time: steps, .. } = tensor.flow {
                // One step would meet every step of the other.
                let broadcast = timed
                    .filter(|_| steps != time && (steps == Some(1) || time == Some(1) || steps.and(time).is_some()));
                if let Some(other) = broadcast {
                    return unfit("equal steps", other, tensor);
                }
                held.extend(&tensor.held);
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
            None => Flow::Rows(features),
        };
        Ok(Known { flow, source, mask: Mask::None, held, from: self.place.clone() })
    }
}
