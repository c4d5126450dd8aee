//! The layer `activation`: a function of features. It has the same functions as cells.

use std::fmt;

use super::Kind;
use crate::cell::Activation;
use crate::error::Result;
use crate::model::flow::{Flow, unfit};

/// The key of its description besides `type` and `weights`: the function.
pub(crate) const ACTIVATION: &str = "activation";

impl Kind for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        match input {
            Flow::Tokens(_) => unfit("features".into(), input),
            Flow::Steps(_) | Flow::Rows(_) => self.check().map(|()| input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }

    fn class(&self) -> &'static str {
        "Activation"
    }
}
