//! The ways there are to walk a recurrent layer through time, by name.
//!
//! A driver may compute one of them wrongly and another one rightly, so each has a known-answer self-check
//! (`engine::self_check`); `tune` chooses among those that a device passes.

use std::fmt;

/// A way to walk a recurrent layer through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// A dispatch a timestep, for any sizes.
    Step,
}

impl Strategy {
    /// Every one.
    pub const ALL: [Self; 1] = [Self::Step];

    /// The name, as reports and errors give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
