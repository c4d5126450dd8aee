//! The strategies that walk recurrent layers through time, by name.
//!
//! A driver may compute one strategy wrongly and another one rightly. So each has a known-answer
//! self-check (`engine::self_check`), and `tune` chooses among those that a device passes.

use std::fmt;

/// A strategy that walks recurrent layers through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// One dispatch for each timestep of each layer. It works for any sizes.
    Step,
    /// One dispatch for a timestep of several consecutive layers, each one
    /// step behind the layer below: T + L − 1 dispatches instead of T · L.
    Wavefront,
    /// One dispatch for all timesteps of a layer in a chunk. Each workgroup has all units of some rows.
    Scan,
    /// One dispatch for all timesteps of a layer in a chunk. Each workgroup has some of the units
    /// of some rows, and workgroups hand each other the hidden state. It is used only on request.
    /// On a device without known co-resident workgroups, one has all units, as in a scan.
    Persistent,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 4] = [Self::Step, Self::Wavefront, Self::Scan, Self::Persistent];

    /// The strategies that are chosen by sizes and device.
    pub const CHOSEN: [Self; 3] = [Self::Step, Self::Wavefront, Self::Scan];

    /// Returns the name, as reports and errors print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Wavefront => "wavefront",
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
