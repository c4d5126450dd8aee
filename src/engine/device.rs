//! The device that a user asks for, facts about the one that was taken, and what was checked on it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::Strategy;
use crate::platform::parallel;

/// Where to compute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The discrete GPU, else the integrated one, else the CPU; [`DeviceInfo::reason`] says which and why.
    /// Software adapters are for tests: they run only when named.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU that [`Auto`](Self::Auto) would take. It does not fall back to another device: if no GPU works, the
    /// error lists the adapters.
    Gpu,
    /// The adapter whose name contains this, ignoring case: `llvmpipe`, `nvidia`. It
    /// does not fall back to another device.
    Named(String),
}

/// What a known-answer self-check covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checked {
    /// Runs of a model by a strategy.
    Running(Strategy),
    /// Training: losses and gradients, step by step. Checked when a trainer is opened.
    Training,
    /// Training by scans, likewise.
    TrainingByScans,
}

impl Checked {
    /// The checks of each strategy that is chosen by sizes and device.
    pub(super) fn chosen() -> [Self; 3] {
        Strategy::CHOSEN.map(Self::Running)
    }

    /// The checks of training, one for each of its strategies.
    pub(super) fn training() -> [Self; 2] {
        [Self::Training, Self::TrainingByScans]
    }

    /// Whether this checks `strategy`, which another strategy may replace.
    pub(super) fn is_of(self, strategy: Strategy) -> bool {
        self == Self::Running(strategy) || strategy == Strategy::Scan && self == Self::TrainingByScans
    }

    /// Returns the name that reports and errors use.
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

/// The result of a known-answer self-check on an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelfCheck {
    /// The adapter, with its driver.
    pub adapter: String,
    /// What was checked.
    pub checked: Checked,
    /// The first wrong number, in words; `None` if all are right.
    pub fault: Option<String>,
}

impl SelfCheck {
    /// Makes the result of a self-check of `checked` on `adapter`; `fault` is the first wrong number.
    pub fn new(adapter: impl Into<String>, checked: Checked, fault: Option<String>) -> Self {
        Self { adapter: adapter.into(), checked, fault }
    }

    /// The error of a device that failed, if it failed.
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

/// The device that an engine computes on. `Display` shows it in a line: `CPU: 8 threads, AVX2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    pub(super) name: String,
    pub(super) detail: String,
    pub(super) reason: String,
    pub(super) place: DeviceKind,
}

/// Which executor a device needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceKind {
    /// The host's.
    Cpu,
    /// A GPU's.
    Gpu,
}

impl DeviceInfo {
    /// Returns the name: `CPU`, or the adapter's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what is behind the name: the graphics API and driver, or the CPU's threads and vectors.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns why this device was taken.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns whether this is the CPU executor. (A software adapter is not: to its users it is a GPU.)
    pub fn is_cpu(&self) -> bool {
        self.place == DeviceKind::Cpu
    }

    /// Explains `error` if work did not fit a GPU: which GPU it is, why it was taken, and what else there is.
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
            place: DeviceKind::Cpu,
        }
    }
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.is_cpu() { ": " } else { ", " };
        write!(f, "{}{between}{}", self.name, self.detail)
    }
}

/// The widest vectors with which products are computed.
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

    /// Parses `auto`, `cpu`, `gpu`, or else a part of an adapter's name.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" => Err(Error::new(
                ErrorKind::Device,
                "device: expected auto, cpu, gpu or a part of an adapter's name, got nothing",
            )),
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
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
            place: DeviceKind::Gpu,
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
