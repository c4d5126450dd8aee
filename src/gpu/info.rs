//! What is said of GPUs, whether the executor is built or not: adapters as plain data, which of them is meant, where their
//! work is waited for, and how long it took.

use std::fmt;

use crate::plan::Limits;

/// Which adapter a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The discrete GPUs, then the integrated ones; software adapters run only when they are named.
    Auto {
        /// Which of them, counted from 0.
        rank: usize,
    },
    /// The adapter of this name, else the best that has it in its name, whatever the case of its letters.
    Named(String),
    /// wgpu's backend that validates and computes nothing, with WebGPU's default limits: for tests.
    Noop,
}

/// What an adapter is, in the order in which they are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU that is passed into a virtual machine.
    Virtual,
    /// wgpu does not say; every adapter of a browser.
    Other,
    /// The CPU under a GPU's interface.
    Software,
}

/// An adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// The driver's version, as the driver words it.
    pub driver_info: String,
    /// The interface it is reached through: `Vulkan`, `Metal`, `DX12`, `WebGPU` or `noop`.
    pub backend: &'static str,
    /// What it is.
    pub kind: AdapterKind,
    /// What it can do.
    pub limits: Limits,
    /// Whether it can time its own work.
    pub timestamps: bool,
}

/// Who waits for the device, where something has to (a browser calls back by itself).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The thread that polls the future: the shortest way.
    Here,
    /// A thread of its own: the future sleeps and blocks nobody.
    Aside,
}

/// Where the time of a run went, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timings {
    /// To compile what no run has needed yet, and to make the plan's buffers: the first run alone.
    pub(crate) prepare_us: f64,
    /// To hand the feeds to the driver and record the dispatches.
    pub(crate) upload_us: f64,
    /// From the submit until the results lay in memory that the host reads.
    pub(crate) compute_us: f64,
    /// To copy them into vectors.
    pub(crate) readback_us: f64,
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}, {}", self.name, self.backend, self.kind)?;
        for part in [&self.driver, &self.driver_info].into_iter().filter(|part| !part.is_empty()) {
            write!(f, ", {part}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        })
    }
}
