//! Flatten, Reshape and Permute: which of them only rename axes.
//!
//! What such a layer takes and gives is one shape but for an axis of one feature, which the model's interface then leaves
//! out or adds. Knows shapes; knows no tensor.

use serde_json::Value;

use super::builder::{Builder, Flow, Mask};
use super::config::{Config, short, wrong};
use super::outputs::Given;
use crate::error::Result;

impl Builder {
    /// Flatten, Reshape and Permute: what they take and give must be one shape but for an axis of one feature.
    pub(super) fn rename_axes(&mut self, config: &mut Config) -> Result<()> {
        // None of the three hands on a mask.
        if self.mask == Mask::Flows {
            self.mask = Mask::Lost(config.place());
        }
        self.renamed.get_or_insert_with(|| config.place());
        let from: Vec<Option<usize>> = match &self.flow {
            Flow::Input(Some(shape)) => shape.clone(),
            Flow::Input(None) => return Err(wrong("expected an input whose shape is told".into())),
            Flow::Steps { time, bare: true, .. } => vec![*time],
            Flow::Steps { time, features, bare: false } => vec![*time, *features],
            Flow::Rows(features) => vec![Some(*features)],
        };
        let to = target(config, &from)?;
        let (input, rows) = (matches!(self.flow, Flow::Input(_)), matches!(self.flow, Flow::Rows(_)));
        match (&from[..], &to[..]) {
            _ if from == to => {}
            ([time], [other, Some(1)]) if !rows && time == other => {
                if input {
                    self.input = Given::WithoutFeatures;
                }
                self.flow = Flow::Steps { time: *time, features: Some(1), bare: false };
            }
            ([time, features, Some(1)], [other, wide]) if input && time == other && features == wide => {
                self.input = Given::WithOneMore;
                self.flow = Flow::Steps { time: *time, features: *features, bare: false };
            }
            ([time, Some(1)], [other]) if !input && time == other => {
                self.flow = Flow::Steps { time: *time, features: Some(1), bare: true };
            }
            _ => {
                let words = |shape: &[Option<usize>]| {
                    let axes: Vec<_> = shape.iter().map(|n| n.map_or("any".into(), |n| n.to_string())).collect();
                    axes.join(" × ")
                };
                let text = format!("expected what only renames axes, got {} from {}", words(&to), words(&from));
                return Err(wrong(text));
            }
        }
        Ok(())
    }
}

/// The shape that a layer makes of `from`; an axis that is told to be what is left has no number if time has none.
fn target(config: &mut Config, from: &[Option<usize>]) -> Result<Vec<Option<usize>>> {
    match config.class() {
        // One axis, as long as all of them together.
        "Flatten" => {
            let mut long = from.iter().copied().filter(|n| *n != Some(1));
            let first = long.next().unwrap_or(Some(1));
            Ok(vec![long.try_fold(first, |product, n| Some(product?.checked_mul(n?))).flatten()])
        }
        "Permute" => {
            let same: Value = (1..=from.len()).collect::<Vec<_>>().into();
            config.only("dims", &same)?;
            Ok(from.to_vec())
        }
        _ => {
            let shape = config.take("target_shape").unwrap_or_default();
            let unread = || wrong(format!("target_shape: expected whole numbers, got {}", short(&shape)));
            let axes = shape.as_array().ok_or_else(unread)?;
            let lengths = axes.iter().map(|n| n.as_i64().ok_or_else(unread)).collect::<Result<Vec<_>>>()?;
            // Where all lengths but one are told, the last is what is left; one that is not told stays so.
            let told = |n: i64| usize::try_from(n).ok();
            let all: Option<usize> = from.iter().try_fold(1_usize, |product, n| product.checked_mul((*n)?));
            let others: Option<usize> =
                lengths.iter().filter(|&&n| n >= 0).try_fold(1_usize, |product, &n| product.checked_mul(told(n)?));
            let left = all.zip(others).filter(|(_, others)| *others > 0).map(|(all, others)| all / others);
            Ok(lengths.iter().map(|&n| if n < 0 { left } else { told(n) }).collect())
        }
    }
}
