//! The layer `attention`: sums of a sequence's steps, weighted by scores.

use std::{fmt, iter};

use super::Kind;
use super::param::{Init, Law, Param, Role, WEIGHT};
use crate::cell::Constant;
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Flow, positive};

/// A sum over the steps of a sequence, the value, in which each step has a weight: `y[t] = Σ_n a[t, n] · value[n]`.
/// The weights are `a[t, n] = softmax_n(score[t, n])`, for each step t of another value, the query.
///
/// The layer takes the query, the value and, if it differs from the value, the key: one step for each step of the
/// value. A query without a time axis gives one sum. If the scores are given, the layer takes them in place of the
/// query, and gives one sum without a time axis.
///
/// Steps that the value lacks get no weight. A row that has no step of the value gives zero, and so does a step that
/// the query lacks.
///
/// Tensors: `weight` `[1, features]`, of additive scores that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attention {
    /// The features of the query and of the key. Given scores have one.
    pub features: usize,
    /// How a step of the query and one of the key give a score.
    pub scores: Scores,
    /// The factor of all scores; `None` is 1, or 1/√features for [`Scores::ScaledDot`].
    pub scale: Option<Constant>,
    /// Whether additive scores have a learned weight for each feature.
    pub weight: bool,
    /// Whether step t of the query sees only the steps up to t of the value.
    pub causal: bool,
}

/// How a step of the query, q, and one of the key, k, give a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scores {
    /// `scale · q·k` (Luong, Pham and Manning 2015).
    #[default]
    Dot,
    /// `q·k / √features` (Vaswani et al. 2017).
    ScaledDot,
    /// `scale · Σ_n weight_n · tanh(q_n + k_n)` (Bahdanau, Cho and Bengio 2015).
    Additive,
    /// A value of one feature, times `scale`.
    Given,
}

impl Scores {
    /// The words of descriptions.
    pub(crate) const WORDS: [(&'static str, Self); 4] =
        [("dot", Self::Dot), ("scaled_dot", Self::ScaledDot), ("additive", Self::Additive), ("given", Self::Given)];
}

impl Attention {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 5] = ["features", "scores", "scale", "weight", "causal"];

    /// Creates a layer whose scores are the products of a query and a key of `features` features.
    pub fn dot(features: usize) -> Self {
        Self { features, scores: Scores::Dot, scale: None, weight: false, causal: false }
    }

    /// Creates a layer whose scores are such products, divided by √features.
    pub fn scaled_dot(features: usize) -> Self {
        Self { scores: Scores::ScaledDot, ..Self::dot(features) }
    }

    /// Creates a layer with additive scores, which have a learned weight for each feature.
    pub fn additive(features: usize) -> Self {
        Self { scores: Scores::Additive, weight: true, ..Self::dot(features) }
    }

    /// Creates a layer that takes its scores, one for each step of the value.
    pub fn given() -> Self {
        Self { scores: Scores::Given, ..Self::dot(1) }
    }

    /// Sets the factor of all scores.
    #[must_use]
    pub fn scale(mut self, scale: f32) -> Self {
        self.scale = Some(scale.into());
        self
    }

    /// Sets whether additive scores have a learned weight for each feature.
    #[must_use]
    pub fn weight(mut self, weight: bool) -> Self {
        self.weight = weight;
        self
    }

    /// Sets whether step t of the query sees only the steps up to t of the value.
    #[must_use]
    pub fn causal(mut self, causal: bool) -> Self {
        self.causal = causal;
        self
    }

    /// Returns the factor of all scores.
    #[expect(clippy::cast_precision_loss, reason = "the root of a number of features is rounded anyway")]
    pub(crate) fn factor(&self) -> f32 {
        match (self.scale, self.scores) {
            (Some(scale), _) => scale.get(),
            (None, Scores::ScaledDot) => (self.features as f32).sqrt().recip(),
            (None, Scores::Dot | Scores::Additive | Scores::Given) => 1.0,
        }
    }

    /// Returns the place of the value, and that of the key, among the values that the layer takes.
    pub(crate) fn places(&self, taken: usize) -> (usize, usize) {
        match self.scores {
            Scores::Given => (1, 0),
            Scores::Dot | Scores::ScaledDot | Scores::Additive => (1, if taken > 2 { 2 } else { 1 }),
        }
    }

    fn check(&self, taken: usize) -> Result<()> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
        positive("features", self.features)?;
        if self.weight && self.scores != Scores::Additive {
            return wrong("weight: expected false, since only additive scores have a weight".into());
        }
        let is_given = self.scores == Scores::Given;
        if is_given && self.features != 1 {
            return wrong(format!("features: expected 1 of given scores, got {}", self.features));
        }
        if is_given && self.causal {
            return wrong("causal: expected false, since given scores have no query".into());
        }
        match (is_given, taken) {
            (true, 2) | (false, 2 | 3) => Ok(()),
            (true, got) => wrong(format!("from: expected the scores and the value, got {got}")),
            (false, got) => wrong(format!("from: expected query and value, or query, value and key, got {got}")),
        }
    }
}

impl Kind for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        self.flow_of_many(&[input])
    }

    fn flow_of_many(&self, inputs: &[Flow]) -> Result<Flow> {
        self.check(inputs.len())?;
        let (value_at, key_at) = self.places(inputs.len());
        let (query, value, key) = (inputs[0], inputs[value_at], inputs[key_at]);
        let unfit = |name: &str, wanted: String, got: Flow| {
            Err(Error::new(ErrorKind::Model, format!("from: {name}: expected {wanted}, got {got}")))
        };
        let Flow::Steps(given) = value else { return unfit("value", "a sequence of features".into(), value) };
        let features = self.features;
        let fits = |flow: Flow| flow.tokens().is_none() && flow.features().len() == features;
        let (key_name, query_name) = match self.scores {
            Scores::Given => ("scores", "scores"),
            _ if key_at == value_at => ("value, which is the key too", "query"),
            _ => ("key", "query"),
        };
        if !matches!(key, Flow::Steps(_)) || !fits(key) {
            return unfit(key_name, format!("a sequence of {features} features (features)"), key);
        }
        if !fits(query) {
            return unfit(query_name, format!("{features} features (features)"), query);
        }
        Ok(match query {
            Flow::Steps(_) if self.scores != Scores::Given => Flow::Steps(given),
            _ => Flow::Rows(given),
        })
    }

    fn tensors(&self) -> Box<dyn Iterator<Item = Param> + '_> {
        let features = self.features;
        let weight = move || Param {
            name: WEIGHT.into(),
            shape: vec![1, features],
            role: Role::Diagonal,
            init: Init::of_terms(features, Law::glorot(features, features)),
        };
        Box::new(iter::once_with(weight).filter(|_| self.weight))
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scores = super::word(&Scores::WORDS, &self.scores);
        write!(f, "attention({}) {scores}{}", self.features, if self.causal { " causal" } else { "" })
    }

    fn class(&self) -> &'static str {
        match self.scores {
            Scores::Additive => "AdditiveAttention",
            Scores::Dot | Scores::ScaledDot | Scores::Given => "Attention",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Features;

    #[test]
    fn what_does_not_fit_is_named() {
        let (steps, rows) = (|n| Flow::Steps(Features::one(n)), |n| Flow::Rows(Features::one(n)));
        let refused = |layer: Attention, inputs: &[Flow]| layer.flow_of_many(inputs).unwrap_err().to_string();
        let dot = || Attention::dot(4);
        assert_eq!(dot().flow_of_many(&[rows(4), steps(7), steps(4)]).unwrap(), rows(7));
        assert_eq!(dot().flow_of_many(&[steps(4), steps(4)]).unwrap(), steps(4));
        assert_eq!(Attention::given().flow_of_many(&[steps(1), steps(7)]).unwrap(), rows(7));
        for (text, expected) in [
            (refused(dot(), &[steps(4)]), "from: expected query and value, or query, value and key, got 1"),
            (
                refused(dot(), &[steps(5), steps(4)]),
                "from: query: expected 4 features (features), got a sequence of 5 features",
            ),
            (
                refused(dot(), &[steps(4), steps(5)]),
                "from: value, which is the key too: expected a sequence of 4 features (features), got a sequence of 5 features",
            ),
            (
                refused(dot(), &[steps(4), rows(4)]),
                "from: value: expected a sequence of features, got 4 features without a time axis",
            ),
            (
                refused(dot(), &[steps(4), steps(9), rows(4)]),
                "from: key: expected a sequence of 4 features (features), got 4 features without a time axis",
            ),
            (
                refused(Attention::given(), &[steps(2), steps(7)]),
                "from: scores: expected a sequence of 1 features (features), got a sequence of 2 features",
            ),
            (
                refused(dot().weight(true), &[steps(4), steps(4)]),
                "weight: expected false, since only additive scores have a weight",
            ),
            (
                refused(Attention::given().causal(true), &[steps(1), steps(7)]),
                "causal: expected false, since given scores have no query",
            ),
        ] {
            assert!(text.ends_with(expected), "{text}");
        }
    }
}
