//! The ends of the time axis that a model takes by index, whether a live step or padding is there.
//!
//! Knows edges; knows no call and no sizes.

use std::collections::HashSet;

use super::Model;
use super::graph::{Pin, Value};
use super::layer::{Direction, LayerKind, Padding, Recurrent, Select, SliceSteps};

/// An end of the time axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeEnd {
    /// Index 0.
    First,
    /// Index T − 1.
    Last,
}

impl Model {
    /// Returns the ends that layers and outputs take. Each comes with whether
    /// a padded step there has the values of the row's own last step.
    pub(crate) fn ends_taken(&self) -> Vec<(TimeEnd, bool)> {
        use TimeEnd::{First, Last};
        let taken =
            self.layers.iter().flat_map(|layer| layer.from.iter().map(move |value| (*value, Some(&layer.kind))));
        let given = self.outputs.iter().map(|output| (output.from, None));
        let mut all = Vec::new();
        for (value, kind) in taken.chain(given) {
            match (value, kind) {
                (Value::Layer(layer, Pin::LastOutput), _) => {
                    all.extend(self.stack_at(layer).into_iter().flat_map(last_outputs))
                }
                (value, Some(LayerKind::Select(Select::LastStep))) => {
                    all.extend(self.stacks_behind(value).map(last_step))
                }
                (_, Some(LayerKind::SliceSteps(SliceSteps { start, end, .. }))) => {
                    let bounds = Some(*start).filter(|start| *start != 0).into_iter().chain(*end);
                    all.extend(bounds.map(|bound| (if bound < 0 { Last } else { First }, false)));
                }
                // These would read the other's steps in reversed order,
                // but by the lengths or the mask of the unreversed ones.
                (value, Some(LayerKind::Recurrent(_) | LayerKind::Attention(_)))
                    if self.stacks_behind(value).flatten().any(is_backwards) =>
                {
                    all.extend([(First, false), (Last, false)]);
                }
                _ => {}
            }
        }
        let mut stacks = self.stacks();
        if stacks.any(|stack| is_backwards(stack) && stack.num_layers > 1) {
            all.extend([(First, false), (Last, false)]);
        }
        all
    }

    /// Whether a stack gives its steps in the order in which it
    /// computes them, so that its last index is the first step.
    pub(crate) fn goes_backwards(&self) -> bool {
        self.stacks().any(is_backwards)
    }

    fn stack_at(&self, layer: usize) -> Option<&Recurrent> {
        match &self.layers[layer].kind {
            LayerKind::Recurrent(stack) => Some(stack),
            _ => None,
        }
    }

    /// Returns the stacks whose steps `value` is made of; an item of `None` is an input or an attention.
    fn stacks_behind(&self, value: Value) -> impl Iterator<Item = Option<&Recurrent>> {
        let (mut left, mut all) = (vec![value], Vec::new());
        // A value that several layers take is followed once.
        let mut seen = HashSet::from([value]);
        while let Some(value) = left.pop() {
            match value {
                // Its dead steps are zero, as those of an input are.
                Value::Layer(layer, _) if matches!(self.layers[layer].kind, LayerKind::Attention(_)) => all.push(None),
                Value::Layer(layer, _) if self.stack_at(layer).is_none() => {
                    left.extend(self.layers[layer].from.iter().filter(|from| seen.insert(**from)));
                }
                Value::Layer(layer, _) => all.push(self.stack_at(layer)),
                Value::Input(_) => all.push(None),
            }
        }
        all.into_iter()
    }
}

fn is_backwards(stack: &Recurrent) -> bool {
    stack.direction == Direction::Backwards
}

fn holds(stack: &Recurrent) -> bool {
    stack.padding == Padding::Held
}

/// Returns the ends at which the directions of a stack compute their last outputs.
fn last_outputs(stack: &Recurrent) -> Vec<(TimeEnd, bool)> {
    let ends: &[TimeEnd] = match stack.direction {
        Direction::Forward => &[TimeEnd::Last],
        Direction::Reverse | Direction::Backwards => &[TimeEnd::First],
        // Each direction ends at its own end.
        Direction::Both => &[TimeEnd::First, TimeEnd::Last],
    };
    ends.iter().map(|end| (*end, holds(stack))).collect()
}

/// Returns the end that is at the last index of a stack's steps, or of an input's.
fn last_step(stack: Option<&Recurrent>) -> (TimeEnd, bool) {
    match stack {
        Some(stack) if is_backwards(stack) => (TimeEnd::First, holds(stack)),
        Some(stack) if stack.direction == Direction::Forward => (TimeEnd::Last, holds(stack)),
        // A reverse direction begins there, and has carried nothing yet.
        Some(_) | None => (TimeEnd::Last, false),
    }
}
