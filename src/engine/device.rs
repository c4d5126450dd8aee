//! Which device a user asks for, and what is said about the one that was taken.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Where to compute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The discrete GPU, else the integrated one, else the CPU; [`DeviceInfo::reason`] says which and why.
    /// Software adapters are for tests: they run only when named.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The adapter with this in its name, whatever the case: `llvmpipe`, `nvidia`. There is no falling back from it.
    Named(String),
}

/// The device an engine computes on. `Display` gives it in a line: `CPU: 8 threads, AVX2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    pub(super) name: String,
    pub(super) detail: String,
    pub(super) reason: String,
}

impl DeviceInfo {
    /// The name: `CPU`, or the adapter's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is behind the name: the graphics API and driver, or the CPU's threads and vectors.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Why this device was taken.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The CPU, as this process sees it.
    pub(super) fn cpu(reason: impl Into<String>) -> Self {
        let threads = rayon::current_num_threads();
        let plural = if threads == 1 { "" } else { "s" };
        Self {
            name: "CPU".into(),
            detail: format!("{threads} thread{plural}, {}", vectors()),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.name == "CPU" { ": " } else { ", " };
        write!(f, "{}{between}{}", self.name, self.detail)
    }
}

/// The widest vectors that products are computed with.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return "AVX2";
        }
    }
    if cfg!(target_arch = "aarch64") { "NEON" } else { "no wide vectors" }
}

impl FromStr for Device {
    type Err = Error;

    /// `auto`, `cpu`, or else a part of an adapter's name.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" => Err(Error::new(
                ErrorKind::Device,
                "device: expected auto, cpu or a part of an adapter's name, got nothing",
            )),
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            _ => Ok(Self::Named(text.trim().to_owned())),
        }
    }
}
