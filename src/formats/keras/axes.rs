//! Flatten, Reshape and Permute: whether they only rename axes. `across` moves numbers between axes.
//!
//! The shapes before and after such a layer differ only in an axis of length 1. The
//! model's ports then leave that axis out or add it. Knows shapes; knows no tensor.

use serde_json::Value;

use super::builder::{Builder, Stands};
use super::config::{Config, short, wrong};
use super::masks::Mask;
use super::values::Flow;
use crate::error::Result;

impl Builder {
    /// Reads Flatten, Reshape and Permute. The shapes before and after must differ only in an axis of length 1.
    pub(super) fn rename_axes(&mut self, config: &mut Config) -> Result<()> {
        // None of the three passes a mask on.
        self.now.mask = Mask::None;
        self.renamed.get_or_insert_with(|| config.place());
        let input = self.now.is_input().filter(|_| self.now.flow == Flow::Input);
        let from: Vec<Option<usize>> = match &self.now.flow {
            Flow::Input => {
                let shape = input.and_then(|index| self.inputs[index].shape.clone());
                shape.ok_or_else(|| wrong("expected an input whose shape is told".into()))?
            }
            Flow::Mask | Flow::Scores(_) => return Err(wrong(format!("expected features, got {}", self.now.shape()))),
            Flow::Steps { time, bare: true, .. } => vec![*time],
            Flow::Steps { time, features, bare: false } => vec![*time, *features],
            Flow::Rows(features) => vec![Some(*features)],
            Flow::OneStep(features) => vec![Some(1), Some(*features)],
        };
        if config.class() == "Permute" {
            let same: Value = (1..=from.len()).collect::<Vec<_>>().into();
            return match config.take("dims").unwrap_or_default() {
                dims if dims == same => Ok(()),
                dims if from.len() == 2 && dims == serde_json::json!([2, 1]) => self.swap_axes(),
                dims => {
                    Err(wrong(format!("dims: expected {same}, or [2, 1] of time and features, got {}", short(&dims))))
                }
            };
        }
        let to = target(config, &from)?;
        let rows = matches!(self.now.flow, Flow::Rows(_));
        match (&from[..], &to[..]) {
            _ if from == to => {}
            ([time], [other, Some(1)]) if !rows && time == other => {
                if let Some(input) = input {
                    self.inputs[input].axes = Stands::WithoutFeatures;
                }
                self.now.flow = Flow::Steps { time: *time, features: Some(1), bare: false };
            }
            ([features], [Some(1), other]) if (rows || input.is_some()) && features == other => {
                self.now = self.one_step(&self.now.clone())?;
            }
            ([time, features, Some(1)], [other, wide]) if input.is_some() && time == other && features == wide => {
                if let Some(input) = input {
                    self.inputs[input].axes = Stands::WithOneMore;
                }
                self.now.flow = Flow::Steps { time: *time, features: *features, bare: false };
            }
            ([time, Some(1)], [other]) if input.is_none() && time == other => {
                self.now.flow = Flow::Steps { time: *time, features: Some(1), bare: true };
            }
            _ => self.moved(&to)?,
        }
        Ok(())
    }
}

/// Returns the shape that a layer makes of `from`. An axis of the
/// remaining length is `None` if the length of time is unknown.
fn target(config: &mut Config, from: &[Option<usize>]) -> Result<Vec<Option<usize>>> {
    match config.class() {
        // One axis, as long as all of them together.
        "Flatten" => {
            let mut long = from.iter().copied().filter(|n| *n != Some(1));
            let first = long.next().unwrap_or(Some(1));
            Ok(vec![long.try_fold(first, |product, n| Some(product?.checked_mul(n?))).flatten()])
        }
        _ => {
            let shape = config.take("target_shape").unwrap_or_default();
            let unread = || wrong(format!("target_shape: expected whole numbers, got {}", short(&shape)));
            let axes = shape.as_array().ok_or_else(unread)?;
            let lengths = axes.iter().map(|n| n.as_i64().ok_or_else(unread)).collect::<Result<Vec<_>>>()?;
            // If all other lengths are known, the negative one is what remains; otherwise it stays unknown.
            let told = |n: i64| usize::try_from(n).ok();
            let all: Option<usize> = from.iter().try_fold(1_usize, |product, n| product.checked_mul((*n)?));
            let others: Option<usize> =
                lengths.iter().filter(|&&n| n >= 0).try_fold(1_usize, |product, &n| product.checked_mul(told(n)?));
            let left = all.zip(others).filter(|(_, others)| *others > 0).map(|(all, others)| all / others);
            Ok(lengths.iter().map(|&n| if n < 0 { left } else { told(n) }).collect())
        }
    }
}
