//! The layer `slice`: some of a value's features.

use std::fmt;

use super::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Features, Flow, positive, unfit};

/// Features `first .. first + count` of a value, at every step if it has steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Slice {
    /// The first feature that goes on, counted from 0.
    pub first: usize,
    /// The number of features.
    pub count: usize,
}

impl Slice {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 2] = ["first", "count"];

    /// Creates a slice of features `first .. first + count`.
    pub fn features(first: usize, count: usize) -> Self {
        Self { first, count }
    }
}

impl Kind for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        positive("count", self.count)?;
        let all = input.features().len();
        if input.tokens().is_some() {
            return unfit("features".into(), input);
        }
        if self.first.checked_add(self.count).is_none_or(|end| end > all) {
            let (first, count) = (self.first, self.count);
            let text = format!("expected features within the {all} that it takes, got {count} from {first} on");
            return Err(Error::new(ErrorKind::Model, text));
        }
        let features = Features::one(self.count);
        Ok(if matches!(input, Flow::Steps(_)) { Flow::Steps(features) } else { Flow::Rows(features) })
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slice({}..{})", self.first, self.first.saturating_add(self.count))
    }

    fn class(&self) -> &'static str {
        "GetItem"
    }
}
