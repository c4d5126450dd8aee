//! Attention without a layer of that name: `Dot` of a query and a key, its softmax, and `Dot` of that and a value; or a
//! softmax over steps, and `Dot` of that and a sequence, or the sum over time of their product.
//!
//! No value of the model is scores: the layer that takes the steps computes them. Knows no mask, as `Dot` does.

use serde_json::Value;

use super::builder::Builder;
use super::config::{Config, short, wrong};
use super::masks::Mask;
use super::values::{Flow, Known, Query, Scores, Source, unlike};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{Attention, Value as Edge};

impl Builder {
    /// Reads `Dot`.
    pub(super) fn dot(&mut self, config: &mut Config, tensors: Vec<Known>) -> Result<Known> {
        config.dtype()?;
        drop(config.take("batch_input_shape"));
        config.only("normalize", &Value::Bool(false))?;
        self.names_time();
        let [one, other] = <[Known; 2]>::try_from(tensors)
            .map_err(|tensors| wrong(format!("expected two inputs, got {}", tensors.len())))?;
        let (one, other) = (self.settled(&one)?, self.settled(&other)?);
        let axes = config.take("axes").unwrap_or_default();
        let axis = |index: usize| axes.get(index).unwrap_or(&axes).as_i64();
        let from_end =
            |axis: Option<i64>, known: &Known| axis.map(|axis| if axis < 0 { axis + rank(known) } else { axis });
        let both = (from_end(axis(0), &one), from_end(axis(1), &other));
        let unread = || {
            let (a, b) = (one.shape(), other.shape());
            wrong(format!(
                "expected the features of a query and of a key, or the softmax of their scores and the steps of a value, got {a} \
                 of {} and {b} of {} over the axes {}",
                one.from,
                other.from,
                short(&axes)
            ))
        };
        let (Some(first), Some(second)) = both else { return Err(unread()) };
        let ends = (rank(&one) - 1, rank(&other) - 1);
        match (&one.flow, &other.flow) {
            (Flow::Scores(scores), Flow::Steps { bare: false, .. }) if scores.is_soft() => {
                let over = if scores.has_axis() { 1 } else { ends.0 };
                if (first, second) == (over, 1) { self.weigh(scores, &other) } else { Err(unread()) }
            }
            (Flow::Steps { bare: false, .. }, Flow::Scores(scores)) if scores.is_soft() && ends.1 == 1 => {
                if (first, second) == (1, 1) { self.weigh(scores, &one) } else { Err(unread()) }
            }
            (_, Flow::Steps { bare: false, .. }) if (first, second) == ends => {
                self.scores(&one, &other).ok_or_else(unread)?
            }
            (Flow::Steps { bare: false, .. }, Flow::Rows(_)) if (first, second) == ends => {
                self.scores(&other, &one).ok_or_else(unread)?
            }
            _ => Err(unread()),
        }
    }

    /// Returns the products of a query and each step of a key, if they have as many features.
    fn scores(&mut self, query: &Known, key: &Known) -> Option<Result<Known>> {
        let features = query.features().filter(|features| key.features() == Some(*features))?;
        let steps = match query.flow {
            Flow::Rows(_) => Query::Row,
            Flow::OneStep(_) => Query::OneStep,
            Flow::Steps { time, bare: false, .. } => Query::Steps(time),
            _ => return None,
        };
        let made = |builder: &mut Self| {
            let (query, key) = (builder.bare_edge(query)?, builder.bare_edge(key)?);
            Ok(builder.of_scores(Scores::Products { query, key, features, steps, soft: false }))
        };
        Some(made(self))
    }

    /// Returns the sums of the steps of `value` by the softmax of `scores`.
    fn weigh(&mut self, scores: &Scores, value: &Known) -> Result<Known> {
        let width = value.features().ok_or_else(|| wrong("expected a sequence whose features are told".into()))?;
        let edge = self.bare_edge(value)?;
        let (attention, from, flow) = match *scores {
            Scores::Products { query, key, features, steps, .. } => {
                let flow = match steps {
                    Query::Row => Flow::Rows(width),
                    Query::OneStep => Flow::OneStep(width),
                    Query::Steps(time) => Flow::Steps { time, features: Some(width), bare: false },
                };
                (Attention::dot(features), vec![query, edge, key], flow)
            }
            Scores::Given { scores, axis } => {
                let flow = if axis { Flow::OneStep(width) } else { Flow::Rows(width) };
                (Attention::given(), vec![scores, edge], flow)
            }
            Scores::Weighted { .. } => return Err(wrong("expected scores, got a sequence times its weights".into())),
        };
        let source = Source::Whole(self.add("", attention, from, [None; 2]));
        Ok(Known { flow, source, ..Known::steps(Mask::None, &self.place) })
    }

    /// Returns the value of a sequence that Keras takes with its masked steps.
    fn bare_edge(&mut self, known: &Known) -> Result<Edge> {
        self.now = known.clone();
        if let Some(layer) = self.now.unlike.take() {
            return Err(unlike(&layer));
        }
        self.lay(&Mask::None)?;
        self.edge(&self.now.clone())
    }

    fn of_scores(&self, scores: Scores) -> Known {
        Known { flow: Flow::Scores(scores), ..Known::steps(Mask::None, &self.place) }
    }

    /// Applies a function to scores, or a softmax to a sequence whose last axis is time. Returns whether it is one of these.
    pub(super) fn softened(&mut self, function: Activation) -> Result<bool> {
        match &mut self.now.flow {
            Flow::Scores(Scores::Products { soft, .. }) if function == Activation::Softmax && !*soft => {
                *soft = true;
                self.now.from = self.place.clone();
                Ok(true)
            }
            Flow::Scores(_) => {
                Err(wrong(format!("expected a softmax of scores, got {function} of {}", self.now.shape())))
            }
            Flow::Steps { bare: true, .. } if function == Activation::Softmax => self.over_steps(false),
            _ => Ok(false),
        }
    }

    /// Reads a `Softmax` of scores, or over the steps of a sequence. Returns whether it is one of these.
    pub(super) fn softmax_of_scores(&mut self, config: &mut Config) -> Result<bool> {
        let known = self.settled(&self.now)?;
        let last = rank(&known) - 1;
        let (of_scores, of_one) = match known.flow {
            Flow::Scores(_) | Flow::Steps { bare: true, .. } => (true, false),
            Flow::Steps { features: Some(1), .. } => (false, true),
            _ => return Ok(false),
        };
        let axis = config.peek("axis").cloned().unwrap_or_else(|| (-1).into());
        let one = axis.as_array().filter(|axes| axes.len() == 1).map_or(&axis, |axes| &axes[0]).as_i64();
        let is_time = of_one && matches!(one, Some(1 | -2));
        if of_one && !is_time {
            return Ok(false);
        }
        drop(config.take("axis"));
        if known.mask != Mask::None {
            return Err(wrong("expected no mask, got one of time, which Keras would lay over the features".into()));
        }
        if of_scores && !(one == Some(-1) || one == Some(last)) {
            return Err(wrong(format!("axis: expected -1 (the steps of the key), got {}", short(&axis))));
        }
        self.now = known;
        if is_time { self.over_steps(true) } else { self.softened(Activation::Softmax) }
    }

    /// Makes the numbers of the steps their weights. `axis` says that there is an axis behind the steps.
    fn over_steps(&mut self, axis: bool) -> Result<bool> {
        self.names_time();
        let known = self.now.clone();
        let scores = self.bare_edge(&known)?;
        self.now = self.of_scores(Scores::Given { scores, axis });
        Ok(true)
    }

    /// Returns the product of a sequence and its weights, if `tensors` are these.
    pub(super) fn weighted(&mut self, tensors: &[Known]) -> Result<Option<Known>> {
        let [one, other] = tensors else { return Ok(None) };
        let (scores, sequence, features) = match (&one.flow, &other.flow) {
            (
                &Flow::Scores(Scores::Given { scores, axis: true }),
                &Flow::Steps { features: Some(f), bare: false, .. },
            ) => (scores, other, f),
            (
                &Flow::Steps { features: Some(f), bare: false, .. },
                &Flow::Scores(Scores::Given { scores, axis: true }),
            ) => (scores, one, f),
            _ => return Ok(None),
        };
        let value = self.bare_edge(sequence)?;
        Ok(Some(self.of_scores(Scores::Weighted { scores, value, features })))
    }

    /// Sums the product of a sequence and its weights over time, if the current value is one.
    pub(super) fn summed(&mut self, keeps: bool) -> bool {
        let Flow::Scores(Scores::Weighted { scores, value, features }) = self.now.flow else { return false };
        let source = Source::Whole(self.add("", Attention::given(), vec![scores, value], [None; 2]));
        let flow = if keeps { Flow::OneStep(features) } else { Flow::Rows(features) };
        self.now = Known { flow, source, ..Known::steps(Mask::None, &self.place) };
        true
    }
}

/// Returns the number of axes, the batch among them.
fn rank(known: &Known) -> i64 {
    match &known.flow {
        Flow::Rows(_) | Flow::Mask | Flow::Steps { bare: true, .. } => 2,
        Flow::Scores(Scores::Products { steps: Query::Row, .. } | Scores::Given { axis: false, .. }) => 2,
        _ => 3,
    }
}
