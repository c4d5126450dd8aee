//! The layers `Attention` and `AdditiveAttention`: sums of a sequence's steps, weighted by scores.
//!
//! Keras subtracts 10⁹ from the scores of masked steps, which gives them no weight. Knows masks; knows no graph.

use super::builder::Builder;
use super::config::{Config, short, wrong};
use super::hdf5::Stored;
use super::masks::Mask;
use super::values::{Flow, Known, Source, unlike};
use super::variables::{self, Variable, VariablePath, Within};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{Attention, Value as Edge};
use crate::weights::Tensor;
use crate::weights::dialect::WEIGHT;

/// Whether layers of `class` are read here.
pub(super) fn is_attention(class: &str) -> bool {
    matches!(class, "Attention" | "AdditiveAttention")
}

/// The scores of a layer: the layer itself, and the factor of query and key before they are scored.
struct Scored {
    attention: Attention,
    before: Option<f32>,
    weight: Option<Tensor>,
}

impl Builder {
    /// Reads an attention that takes `tensors`: query and value, or query, value and key.
    pub(super) fn attention(
        &mut self,
        mut config: Config,
        place: &VariablePath,
        tensors: Vec<Known>,
        causal: bool,
    ) -> Result<Known> {
        config.dtype()?;
        drop(config.take("batch_input_shape"));
        if !(2..=3).contains(&tensors.len()) {
            let got = tensors.len();
            return Err(wrong(format!("expected query and value, or query, value and key, got {got} inputs")));
        }
        let (mut values, mut edges) = (Vec::new(), Vec::new());
        for (index, tensor) in tensors.iter().enumerate() {
            self.now = self.settled(tensor)?;
            let fits = match self.now.flow {
                Flow::Steps { features: Some(_), bare: false, .. } => true,
                Flow::OneStep(_) => index == 0,
                _ => false,
            };
            if !fits {
                let text = format!("expected sequences of features, got {} of {}", self.now.shape(), self.now.from);
                return Err(wrong(text));
            }
            // The mask of a key counts for nothing.
            if index < 2 {
                let mask = self.now.mask.clone();
                self.lay(&mask)?;
                match self.now.unlike.take() {
                    Some(layer) if mask == Mask::None => return Err(unlike(&layer)),
                    _ => {}
                }
            }
            edges.push(self.edge(&self.now.clone())?);
            values.push(self.now.clone());
        }
        let (query, key) = (&values[0], values.last().unwrap_or(&values[1]));
        let features = query.features().unwrap_or_default();
        if key.features() != Some(features) {
            let (a, b) = (query.shape(), key.shape());
            let text = format!(
                "expected a query and a key of equal features, got {a} of {} and {b} of {}",
                query.from, key.from
            );
            return Err(wrong(text));
        }
        let Scored { attention, before, weight } = self.scored(&mut config, place, features)?;
        let causal = config.flag("causal", false)? || causal;
        config.finish()?;
        if let Some(factor) = before {
            let scaled = Activation::Affine { alpha: factor.into(), beta: 0.0.into() };
            let key = edges.last().copied().unwrap_or(edges[1]);
            edges[0] = self.add("", scaled, vec![edges[0]], [None; 2]);
            let key = self.add("", scaled, vec![key], [None; 2]);
            edges.truncate(2);
            edges.push(key);
        }
        let prefix = self.prefix(place)?;
        self.tensors.extend(weight.map(|weight| (format!("{prefix}.{WEIGHT}"), weight)));
        let added: Edge = self.add(&prefix, attention.causal(causal), edges, [None; 2]);
        let value = values[1].features();
        let flow = match query.flow {
            Flow::Steps { time, .. } => Flow::Steps { time, features: value, bare: false },
            _ => Flow::OneStep(value.unwrap_or_default()),
        };
        Ok(Known { flow, source: Source::Whole(added), from: self.place.clone(), ..query.clone() })
    }

    /// Reads how a layer scores: its configuration and its variables.
    fn scored(&mut self, config: &mut Config, place: &VariablePath, features: usize) -> Result<Scored> {
        let additive = config.class() == "AdditiveAttention";
        let scaled = config.flag("use_scale", additive)?;
        let mode = config.take("score_mode");
        if additive {
            let weight = if scaled {
                let stored = self.variables.read(place, Within::Layer, Variable::Scale, &[features])?;
                Some(Tensor::stored([1, features], move || stored.elements()))
            } else {
                None
            };
            let attention = Attention::additive(features).weight(scaled);
            return Ok(Scored { attention, before: None, weight });
        }
        let mut number = |variable| -> Result<f32> {
            let stored: Stored = self.variables.read(place, Within::Layer, variable, &[])?;
            variables::number(&stored)
        };
        let scale = scaled.then(|| number(Variable::Scale)).transpose()?;
        match mode.as_ref().map(|mode| mode.as_str()) {
            None | Some(Some("dot")) => {
                let dot = Attention::dot(features);
                let attention = scale.map_or(dot.clone(), |scale| dot.scale(scale));
                Ok(Scored { attention, before: None, weight: None })
            }
            Some(Some("concat")) => {
                let factor = number(Variable::ConcatWeight { after: usize::from(scaled) })?;
                let attention = Attention::additive(features).weight(false).scale(factor);
                Ok(Scored { attention, before: scale, weight: None })
            }
            Some(_) => {
                let got = mode.as_ref().map_or_else(String::new, short);
                Err(wrong(format!("score_mode: expected dot or concat, got {got}")))
            }
        }
    }
}
