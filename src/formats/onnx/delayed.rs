//! Inputs behind functions of single numbers and behind padding, until a node shows which of their axes has the
//! features.
//!
//! A convolution and a pool have them in axis 1, and all others in the last. Knows no operator but by its name.

use super::constant::is_real;
use super::functions::FUNCTIONS;
use super::graph::Graph;
use super::misfit;
use super::node::Node;
use super::pad;
use super::size::Size;
use super::value::{Data, Delayed, FeedAxis, Late, Value};
use crate::error::Result;

/// The operators that may come before the node that shows the features, and those that show them in axis 1.
const KEEPING: [&str; 22] = [
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Conv",
    "ConvInteger",
    "DequantizeLinear",
    "Dropout",
    "DynamicQuantizeLinear",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "MaxPool",
    "PRelu",
    "Pad",
    "QLinearConv",
    "QuantizeLinear",
    "Shape",
    "Size",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// The most changes of an input. Behind more of them, its last axis has the features.
const MOST: usize = 16;

impl Delayed {
    /// Returns the lengths of the axes.
    pub(super) fn sizes(&self) -> Result<Vec<Size>> {
        let of = |axis: &FeedAxis| {
            let pads = self.changes.iter().filter_map(|change| match change {
                Late::Padded(source, pads) if axis.source == Some(*source) => Some(pads.count()),
                _ => None,
            });
            let more = Size::len(pads.fold(0, usize::saturating_add));
            axis.size.plus(&more).ok_or_else(|| misfit(format!("an axis of {} and more", axis.size)))
        };
        self.feed.axes.iter().map(of).collect()
    }
}

impl Graph {
    /// Returns `value` behind `late`, if it is an input whose features are not told yet.
    pub(super) fn delayed(&self, value: &Value, late: &Late) -> Option<Value> {
        let mut delayed = match value {
            Value::Input(feed)
                if is_real(self.inputs[feed.input].data_type)
                    && feed.axes.len() > 1
                    && feed.fixed.is_empty()
                    && feed.axes.iter().all(|axis| axis.whole && axis.sorted.is_none()) =>
            {
                Delayed { feed: feed.clone(), changes: Vec::new() }
            }
            Value::Delayed(delayed) if delayed.changes.len() < MOST => (**delayed).clone(),
            _ => return None,
        };
        delayed.changes.push(late.clone());
        Some(Value::Delayed(Box::new(delayed)))
    }

    /// Returns `delayed` as data. The last of its axes has the features.
    pub(super) fn undelayed(&mut self, delayed: Delayed, features: Option<usize>) -> Result<Data> {
        let Delayed { feed, changes } = delayed;
        let mut data = self.data(Value::Input(feed.clone()), features)?;
        for change in changes {
            data = match change {
                Late::Through(what) => self.links.through(data, what, true)?,
                Late::Padded(source, pads) => {
                    let axis = feed.axes.iter().position(|axis| axis.source == Some(source));
                    let axis = axis.ok_or_else(|| misfit("steps around an axis that is not there".into()))?;
                    pad::padded(self, data, axis, pads)?
                }
            };
        }
        Ok(data)
    }

    /// Settles the features of what `node` takes, unless another node shows them.
    pub(super) fn settle_features(&mut self, node: &Node<'_>) -> Result<()> {
        if KEEPING.contains(&node.op) || FUNCTIONS.contains(&node.op) {
            return Ok(());
        }
        for index in 0..node.inputs.len() {
            if let Some(Value::Delayed(delayed)) = self.optional(node, index)? {
                let data = self.undelayed(*delayed, None)?;
                self.set(&node.inputs[index], Value::Data(data));
            }
        }
        Ok(())
    }
}
