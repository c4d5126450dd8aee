//! Which ends of the time axis a model takes by their index, whatever stands there: a row's own step, or padding.
//!
//! Knows edges; knows no call and no sizes.

use super::Model;
use super::graph::{Pin, Value};
use super::layer::{Direction, LayerKind, Padding, Recurrent, Select};

/// An end of the time axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeEnd {
    /// Index 0.
    First,
    /// Index T − 1.
    Last,
}

impl Model {
    /// The ends that layers and outputs take, each with whether a padded step there has what the row's own last step has.
    pub(crate) fn ends_taken(&self) -> Vec<(TimeEnd, bool)> {
        use TimeEnd::{First, Last};
        let taken =
            self.layers.iter().flat_map(|layer| layer.from.iter().map(move |value| (*value, Some(&layer.kind))));
        let given = self.outputs.iter().map(|output| (output.from, None));
        let mut all = Vec::new();
        for (value, kind) in taken.chain(given) {
            let (stack, ends): (_, &[TimeEnd]) = match (value, kind) {
                (Value::Layer(layer, Pin::LastOutput), _) => {
                    let stack = self.stack_at(layer);
                    match stack.map(|stack| stack.direction) {
                        _ if self.goes_backwards() => (stack, &[First, Last]),
                        Some(Direction::Reverse | Direction::Backwards) => (stack, &[First]),
                        // Each direction ends at an end of its own.
                        Some(Direction::Both) => (stack, &[First, Last]),
                        Some(Direction::Forward) | None => (stack, &[Last]),
                    }
                }
                (value, Some(LayerKind::Select(Select::LastStep))) => match self.stack_behind(value) {
                    stack if self.goes_backwards() => (stack, &[First, Last]),
                    // A direction that goes back begins there, and holds nothing yet.
                    Some(stack) if stack.direction != Direction::Forward => (None, &[Last]),
                    stack => (stack, &[Last]),
                },
                _ => continue,
            };
            let holds = stack.is_some_and(|stack| stack.padding == Padding::Held);
            all.extend(ends.iter().map(|end| (*end, holds)));
        }
        all
    }

    /// Whether a stack gives its steps in the order in which it went, so that its last index is the first step.
    pub(crate) fn goes_backwards(&self) -> bool {
        self.stacks().any(|stack| stack.direction == Direction::Backwards)
    }

    fn stack_at(&self, layer: usize) -> Option<&Recurrent> {
        match &self.layers[layer].kind {
            LayerKind::Recurrent(stack) => Some(stack),
            _ => None,
        }
    }

    /// The stack whose steps `value` is made of, where one gave it.
    fn stack_behind(&self, mut value: Value) -> Option<&Recurrent> {
        while let Value::Layer(layer, _) = value {
            if let Some(stack) = self.stack_at(layer) {
                return Some(stack);
            }
            // Layers are in topological order, so that this ends.
            value = *self.layers[layer].from.first()?;
        }
        None
    }
}
