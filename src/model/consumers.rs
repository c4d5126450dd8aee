//! The consumers of each value of a model, found once for all layers.
//!
//! Knows edges; knows no call and no sizes.

use std::collections::{BTreeSet, HashMap};

use super::Model;
use super::graph::{Pin, Value};

/// The consumers of each value.
pub(crate) struct Consumers<'a> {
    model: &'a Model,
    /// The layers that take each value, and whether a stack begins at it there.
    layers: HashMap<Value, Vec<Use>>,
    /// The values that the model gives.
    given: Vec<Value>,
}

/// How a layer takes a value.
#[derive(Clone, Copy)]
struct Use {
    layer: usize,
    begins: bool,
}

impl<'a> Consumers<'a> {
    /// Finds the consumers in `model`.
    pub(crate) fn of(model: &'a Model) -> Self {
        let mut layers: HashMap<Value, Vec<Use>> = HashMap::new();
        for (layer, of) in model.layers.iter().enumerate() {
            for value in &of.from {
                layers.entry(*value).or_default().push(Use { layer, begins: false });
            }
            for value in of.initial.iter().flatten() {
                layers.entry(*value).or_default().push(Use { layer, begins: true });
            }
        }
        Self { model, layers, given: model.feature_outputs() }
    }

    fn uses(&self, value: Value) -> &[Use] {
        self.layers.get(&value).map_or(&[], Vec::as_slice)
    }

    /// Returns the layers that take the output of layer `layer`,
    /// past layers that only pass it on. `None` is the caller.
    pub(crate) fn of_steps(&self, layer: usize) -> Vec<Option<usize>> {
        let (mut consumers, mut left) = (BTreeSet::new(), vec![layer]);
        let mut is_given = false;
        while let Some(layer) = left.pop() {
            let value = Value::Layer(layer, Pin::Output);
            is_given |= self.given.contains(&value);
            for consumer in self.uses(value) {
                if self.model.layers[consumer.layer].kind.passes_on() {
                    left.push(consumer.layer);
                } else {
                    consumers.insert(consumer.layer);
                }
            }
        }
        consumers.into_iter().map(Some).chain(is_given.then_some(None)).collect()
    }

    /// Whether a layer or the caller takes a result of stack `layer` that exists only after the last step.
    pub(crate) fn of_finals(&self, layer: usize) -> bool {
        let finals = [Pin::FinalHidden, Pin::LastOutput, Pin::FinalCell].map(|pin| Value::Layer(layer, pin));
        let takes = |value: &Value| self.uses(*value).iter().any(|consumer| !consumer.begins);
        finals.iter().any(|value| takes(value) || self.given.contains(value))
    }

    /// Whether a stack begins at a result of layer `layer`.
    pub(crate) fn begins(&self, layer: usize) -> bool {
        let pins = Pin::WORDS.map(|(_, pin)| pin).into_iter().chain([Pin::Output]);
        pins.into_iter().any(|pin| self.uses(Value::Layer(layer, pin)).iter().any(|consumer| consumer.begins))
    }
}
