//! The other runtime, where it is not built: each part that needs it is an error that says how to build it.

use crate::error::{Error, ErrorKind, Result, some_of};
use crate::formats::Foreign;
use crate::named::Values;

/// What runs such parts, in tables.
pub(super) const NAME: &str = "foreign";

/// There is none.
pub(super) struct Host;

impl Host {
    pub(super) fn new() -> Self {
        Self
    }
}

/// There is none.
pub(super) enum Runtime {}

impl Runtime {
    pub(super) fn load(_: Foreign, operators: &[(String, usize)], _: &Host) -> Result<Self> {
        let text = format!(
            "its operators ({}) run by another runtime, and gatewave was built without the feature `foreign`; add it to the \
             line of gatewave in Cargo.toml: features = [\"foreign\"]",
            some_of(operators.iter().map(|(op, _)| op), 4)
        );
        Err(Error::new(ErrorKind::Model, text))
    }

    pub(super) fn run(&self, _: &[String], _: &[&Values]) -> Result<Vec<Values>> {
        match *self {}
    }
}
