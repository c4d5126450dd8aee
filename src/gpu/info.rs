//! Descriptions of GPUs, with or without the executor: adapters as plain data, and the choice of one.

use std::fmt;

use crate::plan::Limits;

/// The adapter that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Discrete GPUs, then integrated ones. Software adapters are used only by name.
    Auto {
        /// The rank among them, counted from 0.
        rank: usize,
    },
    /// Discrete and integrated GPUs, then any other adapter that is not software.
    Gpu {
        /// The rank among them, counted from 0.
        rank: usize,
    },
    /// The adapter of this name, else the best one whose name contains it, in upper or lower case.
    Named(String),
    /// wgpu's backend that validates but computes nothing, with WebGPU's default limits: for tests.
    Noop,
}

/// The kind of an adapter. Kinds are in order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AdapterKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU that is passed into a virtual machine.
    Virtual,
    /// An adapter whose kind wgpu does not report, as in every browser.
    Other,
    /// A CPU behind a GPU's interface.
    Software,
}

/// An adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdapterInfo {
    /// The adapter's name.
    pub name: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version, in the driver's words.
    pub driver_info: String,
    /// The interface that reaches it: `Vulkan`, `Metal`, `DX12`, `WebGPU` or `noop`.
    pub backend: &'static str,
    /// The kind of adapter.
    pub kind: AdapterKind,
    /// The adapter's limits.
    pub limits: Limits,
    /// Whether the adapter can time its own work.
    pub timestamps: bool,
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
