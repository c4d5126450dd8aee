//! The ways there are to walk recurrent layers through time, by name.
//!
//! A driver may compute one of them wrongly and another one rightly, so each has a known-answer self-check
//! (`engine::self_check`); `tune` chooses among those that a device passes.

use std::fmt;

/// A way to walk recurrent layers through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// A dispatch a timestep of each layer, for any sizes.
    Step,
    /// A dispatch for a timestep of all layers of a run, each a step behind the one below: T + L − 1 in place of T · L.
    Diagonal,
    /// A dispatch for all timesteps of a layer that a chunk has, each workgroup with all units of some rows.
    Scan,
    /// The same, each workgroup with some of a layer's units of some rows: they hand each other the hidden state. Never
    /// chosen but by hand; on a device where no two workgroups are sure to run side by side one has all units, as in a scan.
    Persistent,
}

impl Strategy {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Step, Self::Diagonal, Self::Scan, Self::Persistent];

    /// Those that are chosen by sizes and device.
    pub const CHOSEN: [Self; 3] = [Self::Step, Self::Diagonal, Self::Scan];

    /// The name, as reports and errors give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Diagonal => "diagonal",
            Self::Scan => "scan",
            Self::Persistent => "persistent",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
