//! Encoders: a model that runs first, over a sequence of its own, and whose final states begin the stacks of another.
//!
//! A plain description, as the model that it begins; `call` says what a caller gives, `engine` runs one after the other.

use super::Model;
use super::layer::{Initial, Layer, Memory, Recurrent};
use crate::error::{Error, ErrorKind, Result};

/// A model whose final states begin stacks of the model that it belongs to, the decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// The model that runs first. What its last layer gives is left out.
    pub model: Model,
    /// Which of its stacks begins which of the decoder's.
    pub states: Vec<Link>,
}

/// From a stack's final states to another's initial ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The stack of the encoder, counted from 0 among its recurrent layers.
    pub from: usize,
    /// The stack of the decoder, counted from 0 among its recurrent layers.
    pub to: usize,
}

impl Model {
    /// The model as the decoder of `encoder`: each pair of `states` is a stack of the encoder, and the stack of this
    /// model that begins where the former ended.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Device, Engine, Input, Linear, Lstm, Model, Weights};
    /// use ndarray::Array3;
    ///
    /// let encoder = Model::new().named_layer("encoder.", Lstm::new(5, 8));
    /// let model = Model::new()
    ///     .named_layer("decoder.", Lstm::new(4, 8))
    ///     .named_layer("head.", Linear::new(8, 3))
    ///     .encoded_by(encoder, [(0, 0)]);
    /// let engine = Engine::new(model.clone(), &Weights::random(&model, 0)?, Device::Cpu)?;
    ///
    /// let encoded = Input::features(Array3::zeros((2, 6, 5)));
    /// let result = engine.run(&Input::features(Array3::zeros((2, 4, 4))).encoder(encoded))?;
    /// assert_eq!(result.output.shape(), [2, 4, 3]);
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    #[must_use]
    pub fn encoded_by(mut self, encoder: Self, states: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let states = states.into_iter().map(|(from, to)| Link { from, to }).collect();
        self.encoder = Some(Box::new(Encoder { model: encoder, states }));
        self
    }

    /// The layers of the encoder, if there is one, and then the model's own: in the order in which they run.
    pub fn every_layer(&self) -> Vec<&Layer> {
        let mut layers = self.encoder.as_ref().map_or_else(Vec::new, |encoder| encoder.model.every_layer());
        layers.extend(&self.layers);
        layers
    }

    /// Whether stack `stack` begins where one of the encoder ended.
    pub fn is_linked(&self, stack: usize) -> bool {
        self.encoder.as_ref().is_some_and(|encoder| encoder.states.iter().any(|link| link.to == stack))
    }
}

impl Encoder {
    /// Whether the encoder is one of `decoder`.
    pub(super) fn check(&self, decoder: &Model) -> Result<()> {
        self.model.check()?;
        if self.model.interface.as_ref().is_some_and(|interface| interface.takes_weights()) {
            return Err(wrong("interface: expected no weights among the inputs of an encoder, which has its own"));
        }
        if self.states.is_empty() {
            return Err(wrong("states: expected at least one stack that begins another, got none"));
        }
        let (from, to): (Vec<_>, Vec<_>) = (self.model.stacks().collect(), decoder.stacks().collect());
        for (index, link) in self.states.iter().enumerate() {
            let place = || format!("states {index}");
            if self.states[..index].iter().any(|other| other.to == link.to) {
                let text = format!("expected a stack of its own, got stack {} of the decoder again", link.to);
                return Err(wrong(text).at(place()));
            }
            let stack = |stacks: &[&Recurrent], stack: usize, whose: &str| match stacks.get(stack) {
                Some(_) => Ok(()),
                None => Err(wrong(format!("expected a stack of the {whose} below {}, got {stack}", stacks.len()))),
            };
            stack(&from, link.from, "encoder")
                .and_then(|()| stack(&to, link.to, "decoder"))
                .and_then(|()| fit(from[link.from], to[link.to]))
                .map_err(|e| e.at(place()))?;
        }
        self.check_names(decoder)
    }

    /// Tensors of weights and of calls have names of their own.
    fn check_names(&self, decoder: &Model) -> Result<()> {
        let named = |layer: &&Layer| layer.kind.parameters() > 0;
        for layer in self.model.every_layer().into_iter().filter(named) {
            if decoder.layers.iter().any(|other| named(&other) && other.weights == layer.weights) {
                let text = format!(
                    "weights: expected a prefix that no layer of the decoder has, got {:?} for a {}; named_layer gives one",
                    layer.weights,
                    layer.kind.name()
                );
                return Err(wrong(text));
            }
        }
        let own = decoder.ports();
        let ports = decoder.encoder_ports();
        match ports.iter().find(|port| own.inputs.iter().any(|own| own.name == port.name)) {
            None => Ok(()),
            Some(port) => {
                Err(wrong(format!("{}: expected a name of its own, got an input's of the decoder", port.name)))
            }
        }
    }
}

/// Whether the final states of one stack can begin another.
fn fit(from: &Recurrent, to: &Recurrent) -> Result<()> {
    let sizes = |stack: &Recurrent| {
        let cells = (stack.cell.states() > 1).then_some(stack.hidden_size);
        (stack.num_layers.saturating_mul(stack.directions()), stack.state_size(), cells)
    };
    let text = |stack: &Recurrent| {
        let (rows, hidden, cells) = sizes(stack);
        let cells = cells.map_or_else(String::new, |size| format!(" and [{rows}, B, {size}]"));
        format!("[{rows}, B, {hidden}]{cells} (layers · directions, B, size)")
    };
    if sizes(from) != sizes(to) {
        return Err(wrong(format!("expected states {} as the {} has, got {}", text(to), to.cell.name(), text(from))));
    }
    if to.initial == Initial::Learned {
        return Err(wrong("expected a stack of the decoder without initial states of its own, got learned ones"));
    }
    if to.memory == Memory::Engine {
        return Err(wrong("expected a stack of the decoder that keeps no states between calls, got a stateful one"));
    }
    Ok(())
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Model, text)
}
