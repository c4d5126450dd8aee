//! Which device a user asks for, what is said about the one that was taken, and what was checked on it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::Strategy;
use crate::platform::parallel;

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

/// What a known-answer self-check is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checked {
    /// Running a model by a strategy.
    Running(Strategy),
    /// Training: losses and gradients, step by step. Checked where a trainer is opened.
    Training,
    /// Training by scans: likewise.
    TrainingByScans,
}

impl Checked {
    /// By each strategy that is chosen by sizes and device.
    pub(super) fn chosen() -> [Self; 3] {
        Strategy::CHOSEN.map(Self::Running)
    }

    /// Training, by each strategy of its own.
    pub(super) fn training() -> [Self; 2] {
        [Self::Training, Self::TrainingByScans]
    }

    /// Whether it is of a strategy, which another may stand in for.
    pub(super) fn is_of(self, strategy: Strategy) -> bool {
        self == Self::Running(strategy) || strategy == Strategy::Scan && self == Self::TrainingByScans
    }

    /// The name, as reports and errors give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running(strategy) => strategy.name(),
            Self::Training => "training",
            Self::TrainingByScans => "training by scans",
        }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a known-answer self-check showed on an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfCheck {
    /// The adapter, with its driver.
    pub adapter: String,
    /// What was checked.
    pub checked: Checked,
    /// The first wrong number, in words; `None` where all are right.
    pub fault: Option<String>,
}

impl SelfCheck {
    /// The error of a device that failed it.
    pub(super) fn error(&self) -> Option<Error> {
        self.fault.as_ref()?;
        let hint = match self.checked {
            Checked::Running(Strategy::Persistent) => {
                "this device cannot go by it: let it choose another (--strategy auto)"
            }
            Checked::Running(_) | Checked::Training | Checked::TrainingByScans => {
                "this driver computes wrong numbers: update it, or use --device cpu"
            }
        };
        let text = format!("{self}; {hint}");
        Some(Error::new(ErrorKind::Device, text))
    }
}

impl fmt::Display for SelfCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.fault.as_deref().unwrap_or("ok");
        write!(f, "{}: self-check of {}: {fault}", self.adapter, self.checked)
    }
}

/// The device an engine computes on. `Display` gives it in a line: `CPU: 8 threads, AVX2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    pub(super) name: String,
    pub(super) detail: String,
    pub(super) reason: String,
    pub(super) place: Place,
}

/// Which executor a device means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The host's.
    Cpu,
    /// A GPU's.
    Gpu,
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

    /// Whether it is the CPU executor. (A software adapter is none: it is a GPU to all who use it.)
    pub fn is_cpu(&self) -> bool {
        self.place == Place::Cpu
    }

    /// `error`; where the work did not fit a GPU, with which GPU that is, why it was taken and what there is besides.
    pub(super) fn explain(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Limits || self.is_cpu() {
            return error;
        }
        error.hint(format_args!(
            "the device is {} ({}); --device cpu takes what fits the host's memory",
            self.name, self.reason
        ))
    }

    /// The CPU, as this process sees it.
    pub(super) fn cpu(reason: impl Into<String>) -> Self {
        let threads = parallel::current_num_threads();
        let plural = if threads == 1 { "" } else { "s" };
        Self {
            name: "CPU".into(),
            detail: format!("{threads} thread{plural}, {}", vectors()),
            reason: reason.into(),
            place: Place::Cpu,
        }
    }
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.is_cpu() { ": " } else { ", " };
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
    match () {
        () if cfg!(target_arch = "aarch64") => "NEON",
        () if cfg!(target_feature = "simd128") => "SIMD128",
        () => "no wide vectors",
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu() -> DeviceInfo {
        DeviceInfo {
            name: "Voodoo".into(),
            detail: "Vulkan".into(),
            reason: "auto: the best GPU (discrete)".into(),
            place: Place::Gpu,
        }
    }

    #[test]
    fn a_failed_self_check_says_what_to_do() {
        let fault = "slot 1.hidden.0 [2, 1, 7]: expected 0.25, got 0.26";
        let adapter = "Voodoo [Vulkan, discrete]".to_owned();
        let failed = SelfCheck { adapter, checked: Checked::Running(Strategy::Step), fault: Some(fault.into()) };
        let error = failed.error().unwrap();
        assert_eq!(error.kind(), ErrorKind::Device);
        assert_eq!(
            error.to_string(),
            "Voodoo [Vulkan, discrete]: self-check of step: slot 1.hidden.0 [2, 1, 7]: expected 0.25, got 0.26; this \
             driver computes wrong numbers: update it, or use --device cpu"
        );
        let passed = SelfCheck { fault: None, ..failed };
        assert_eq!(passed.to_string(), "Voodoo [Vulkan, discrete]: self-check of step: ok");
        assert!(passed.error().is_none());
    }

    #[test]
    fn what_does_not_fit_a_gpu_is_told_with_its_name_and_the_way_out() {
        let limits = || Error::new(ErrorKind::Limits, "buffer `weights.0`: too large");
        assert_eq!(
            gpu().explain(limits()).to_string(),
            "buffer `weights.0`: too large; the device is Voodoo (auto: the best GPU (discrete)); --device cpu takes \
             what fits the host's memory"
        );
        assert_eq!(DeviceInfo::cpu("asked for").explain(limits()).to_string(), limits().to_string());
        let shape = Error::new(ErrorKind::Shape, "input: too short");
        assert_eq!(gpu().explain(shape).to_string(), "input: too short");
    }

    #[test]
    fn the_cpu_is_the_cpu_and_is_not_checked() {
        assert!(DeviceInfo::cpu("asked for").is_cpu());
        assert_eq!(Device::Cpu.self_checks().unwrap(), []);
    }
}
