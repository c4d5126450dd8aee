//! The two executors behind one face, and which one a device means.
//!
//! Opens, runs and times; decides nothing about a plan.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::cpu::Cpu;
use crate::error::Result;
use crate::gpu::{self, AdapterInfo, AdapterKind, Choice, Gpu, Loaded};
use crate::kernel::Medium;
use crate::pack::PackedBuffer;
use crate::plan::tune::{Target, Tuning};
use crate::plan::{Caller, Limits, Plan, SlotId, Spent};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

use super::Options;
use super::device::{Checked, Device, DeviceInfo, Place, SelfCheck};
use super::exchange::Watched;
use super::gpus;
use super::timings::Timings;

pub(super) use crate::gpu::Wait;

/// An executor with a model's weights.
pub(super) enum Executor {
    /// The host.
    Cpu(Box<Cpu>),
    /// A GPU.
    Gpu {
        /// The open device, which other engines may share.
        gpu: Arc<Gpu>,
        /// The weights on it.
        loaded: Box<Loaded>,
    },
}

/// A device that is open, without a model's weights.
#[derive(Clone)]
pub(super) enum Machine {
    /// The host.
    Cpu,
    /// A GPU, which engines may share.
    Gpu(Arc<Gpu>),
}

impl Machine {
    /// The device that `options` mean, after the self-check of the strategy that they ask for.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where there is no such device.
    pub(super) async fn open(options: &Options) -> Result<(Self, DeviceInfo)> {
        Self::open_to(options, false).await
    }

    /// The same, after the self-check of training besides.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) async fn open_to_train(options: &Options) -> Result<(Self, DeviceInfo)> {
        Self::open_to(options, true).await
    }

    async fn open_to(options: &Options, trains: bool) -> Result<(Self, DeviceInfo)> {
        let (machine, device) = Self::open_device(&options.device, trains).await?;
        if let (Self::Gpu(gpu), Some(strategy), None) = (&machine, options.strategy, options.resident_workgroups) {
            gpus::self_checks(gpu, &[Checked::Running(strategy)]).await?;
        }
        Ok((machine, device))
    }

    /// What `device` means: one that passes its self-checks, that of training among them where it `trains`.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where there is no such device.
    async fn open_device(device: &Device, trains: bool) -> Result<(Self, DeviceInfo)> {
        let reason = match device {
            Device::Cpu => "asked for".to_owned(),
            Device::Named(name) => {
                if let Some(gpu) = gpus::open_sound(&Choice::Named(name.clone()), trains).await? {
                    return Ok(Self::gpu(gpu, format!("asked for as {name:?}")));
                }
                unreachable!("a name that means no adapter is an error");
            }
            Device::Auto => {
                let (gpu, reason) = auto(trains).await;
                match gpu {
                    Some(gpu) => return Ok(Self::gpu(gpu, reason)),
                    None => reason,
                }
            }
        };
        Ok((Self::Cpu, DeviceInfo::cpu(reason)))
    }

    /// wgpu's validator: it refuses what a device would, and computes nothing.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where wgpu refuses.
    pub(super) async fn validator() -> Result<(Self, DeviceInfo)> {
        let Some(gpu) = Gpu::open(Choice::Noop).await?.map(Arc::new) else {
            unreachable!("wgpu always has its validator");
        };
        Ok(Self::gpu(gpu, "no device: validation alone".to_owned()))
    }

    /// As [`open`](Self::open), but a GPU that no other engine shares, and unchecked.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) async fn alone(device: &Device) -> Result<(Self, DeviceInfo)> {
        if let Some(choice) = choice(device, 0)
            && let Some(gpu) = Gpu::open(choice).await?
        {
            return Ok(Self::gpu(Arc::new(gpu), "asked for, unshared".to_owned()));
        }
        Self::open_device(&Device::Cpu, false).await
    }

    fn gpu(gpu: Arc<Gpu>, reason: String) -> (Self, DeviceInfo) {
        let AdapterInfo { name, driver, driver_info, backend, .. } = gpu.info();
        let parts = [*backend, driver, driver_info].into_iter().filter(|part| !part.is_empty());
        let detail = parts.collect::<Vec<_>>().join(", ");
        let info = DeviceInfo { name: name.clone(), detail, reason, place: Place::Gpu };
        (Self::Gpu(gpu), info)
    }

    /// What the device can do, or what `options` take it to.
    pub(super) fn limits(&self, options: &Options) -> Limits {
        let limits = match self {
            Self::Cpu => Limits::HOST,
            Self::Gpu(gpu) => Limits { resident_workgroups: gpus::resident(gpu), ..gpu.limits() },
        };
        let limits =
            Limits { resident_workgroups: options.resident_workgroups.unwrap_or(limits.resident_workgroups), ..limits };
        let Some(held) = options.limits else { return limits };
        Limits {
            binding_bytes: held.binding_bytes.min(limits.binding_bytes),
            buffer_bytes: held.buffer_bytes.min(limits.buffer_bytes),
            workgroups: held.workgroups.min(limits.workgroups),
            loop_iterations: held.loop_iterations.min(limits.loop_iterations),
            ..limits
        }
    }

    /// Whether workgroups of the device have waited for each other in vain: told by whoever sees it.
    pub(super) fn stalled(&self) -> Arc<AtomicBool> {
        match self {
            Self::Cpu => Arc::default(),
            Self::Gpu(gpu) => gpu.stalled(),
        }
    }

    /// How plans are to be made: by the strategy of `options` where one is asked for, and by none that failed the device's
    /// self-check.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where the one asked for did.
    pub(super) fn tuning(&self, options: &Options) -> Result<Tuning> {
        let (own, strategy) = match self {
            Self::Cpu => (Target::Host, options.strategy),
            // What `options` take the device to, nobody has checked.
            Self::Gpu(gpu) if options.resident_workgroups.is_some() => (gpus::target(gpu), options.strategy),
            Self::Gpu(gpu) => (gpus::target(gpu), gpus::sound(gpu, options.strategy)?),
        };
        let tuning = Tuning::of(options.target.unwrap_or(own)).with_strategy(strategy);
        Ok(tuning.with_chunk_bytes(options.chunk_bytes).with_keep_bytes(options.keep_bytes))
    }

    /// The executor, without weights yet.
    pub(super) fn executor(self) -> Executor {
        match self {
            Self::Cpu => Executor::Cpu(Box::new(Cpu::empty())),
            Self::Gpu(gpu) => Executor::Gpu { gpu, loaded: Box::default() },
        }
    }
}

impl Executor {
    /// How many objects were made on the GPU so far; none on the CPU.
    pub(super) fn gpu_objects(&self) -> u64 {
        match self {
            Self::Cpu(_) => 0,
            Self::Gpu { gpu, .. } => gpu.objects(),
        }
    }

    /// Takes the next packed buffer of the model's weights, which a GPU is to hold in `medium`.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where it does not fit the device.
    pub(super) async fn add(&mut self, buffer: PackedBuffer, medium: Medium) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.add(buffer),
            Self::Gpu { gpu, loaded } => gpu.add(loaded, buffer, medium).await,
        }
    }

    /// Takes `buffer` in the place of packed buffer `index`, which is as large.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where the host has no memory for it; `Lost`, where the device is lost.
    pub(super) async fn replace(&mut self, index: usize, buffer: PackedBuffer) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.replace(index, buffer),
            Self::Gpu { gpu, loaded } => gpu.replace(loaded, index, &buffer).await,
        }
    }

    /// Makes zeros for what `plan` keeps from run to run and is not there yet.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for them.
    pub(super) async fn keep(&mut self, plan: &Plan) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.keep(plan),
            Self::Gpu { gpu, loaded } => gpu.keep(loaded, plan).await,
        }
    }

    /// Takes `buffer` in the place of what is kept as `index`, which is as large.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace).
    pub(super) async fn replace_kept(&mut self, index: usize, buffer: PackedBuffer) -> Result<()> {
        match self {
            Self::Cpu(cpu) => cpu.replace_kept(index, buffer),
            Self::Gpu { gpu, loaded } => gpu.replace_kept(loaded, index, &buffer).await,
        }
    }

    /// Runs `plan` with what `caller` gives and takes: where the time went.
    pub(super) async fn run(&self, plan: &Arc<Plan>, caller: &mut dyn Caller, wait: Wait) -> Result<Timings> {
        match self {
            Self::Cpu(cpu) => Watched::run(caller, |caller| cpu.run(plan, caller)),
            Self::Gpu { gpu, loaded } => gpu.run(loaded, plan, caller, wait).await.map(Timings::from),
        }
    }

    /// [`run`](Self::run), and what the programs of `plan` took, one by one or together.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); kind `Device`, where the device has no clock.
    pub(super) async fn run_clocked(&self, plan: &Arc<Plan>, caller: &mut dyn Caller) -> Result<Spent> {
        match self {
            Self::Cpu(cpu) => cpu.run_clocked(plan, caller),
            Self::Gpu { gpu, loaded } => gpu.run_clocked(loaded, plan, caller, Wait::Here).await,
        }
    }

    /// Every f32 slot of `plan` that is not weights, after the last dispatch.
    pub(super) async fn trace(&self, plan: &Arc<Plan>, caller: &mut dyn Caller) -> Result<Vec<(SlotId, Vec<f32>)>> {
        match self {
            Self::Cpu(cpu) => cpu.trace(plan, caller),
            Self::Gpu { gpu, loaded } => gpu.trace(loaded, plan, caller).await?.ok_or_else(|| gpu.in_vain()),
        }
    }
}

/// The best GPU that opens and passes its self-checks, and why it is that one, or none.
async fn auto(trains: bool) -> (Option<Arc<Gpu>>, String) {
    first_sound(|rank| async move {
        let gpu = gpus::open_sound(&Choice::Auto { rank }, trains).await?;
        Ok(gpu.map(|gpu| (gpu.info().kind, gpu)))
    })
    .await
}

/// The first GPU by rank that `open` gives, with what it is, without an error, and why it is that one, or none.
async fn first_sound<G, F>(open: impl Fn(usize) -> F) -> (Option<G>, String)
where
    F: Future<Output = Result<Option<(AdapterKind, G)>>>,
{
    let mut refused = Vec::new();
    loop {
        match open(refused.len()).await {
            Ok(Some((kind, gpu))) => {
                let best = if refused.is_empty() { "the best GPU" } else { "the best GPU that works" };
                return (Some(gpu), format!("auto: {best} ({kind})"));
            }
            Ok(None) if refused.is_empty() => return (None, format!("auto: {}", gpu::NONE_HERE)),
            Ok(None) => return (None, format!("auto: no GPU works here: {}", refused.join("; "))),
            Err(e) => {
                log::warn!("auto passes over a GPU: {e}");
                refused.push(e.to_string());
            }
        }
    }
}

impl Device {
    /// What the known-answer self-checks show of the adapters that an engine on this device would try, in that order:
    /// an engine takes the first that passes, and a trainer the first that passes that of training as well. None for the CPU.
    ///
    /// A check runs once in a process for each adapter and driver.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where no adapter has the name asked for, or it does not open; `Lost`, where it is lost meanwhile.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn self_checks(&self) -> Result<Vec<SelfCheck>> {
        block_on(self_checks(self))
    }

    /// [`self_checks`](Self::self_checks), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`self_checks`](Self::self_checks).
    pub async fn self_checks_async(&self) -> Result<Vec<SelfCheck>> {
        self_checks(self).await
    }
}

/// What the self-checks show of the adapters that `device` would try, up to the first that passes.
///
/// # Errors
///
/// Those of [`Machine::open`] on a named device.
async fn self_checks(device: &Device) -> Result<Vec<SelfCheck>> {
    let mut checks = Vec::new();
    let mut rank = 0;
    while let Some(choice) = choice(device, rank) {
        let Some(gpu) = gpus::open(&choice).await? else { break };
        let mut of_one = gpus::self_checks(&gpu, &Checked::chosen()).await?;
        of_one.extend(gpus::self_checks(&gpu, &Checked::training()).await?);
        let passed = of_one.iter().all(|check| check.fault.is_none());
        checks.extend(of_one);
        if passed {
            break;
        }
        rank += 1;
    }
    Ok(checks)
}

/// The GPU of rank `rank`, from 0, among those that `device` means, if there can be one.
fn choice(device: &Device, rank: usize) -> Option<Choice> {
    match device {
        Device::Auto => Some(Choice::Auto { rank }),
        Device::Named(name) => (rank == 0).then(|| Choice::Named(name.clone())),
        Device::Cpu => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    /// What `auto` takes where these are the GPUs, best first.
    fn auto_of(gpus: &[Result<(AdapterKind, &'static str), &'static str>]) -> (Option<&'static str>, String) {
        block_on(first_sound(async |rank| match gpus.get(rank) {
            None => Ok(None),
            Some(Ok(gpu)) => Ok(Some(*gpu)),
            Some(Err(fault)) => Err(Error::new(ErrorKind::Device, *fault)),
        }))
    }

    #[test]
    fn auto_takes_the_best_gpu_or_says_that_there_is_none() {
        let (discrete, integrated) = (Ok((AdapterKind::Discrete, "Arc")), Ok((AdapterKind::Integrated, "Iris")));
        assert_eq!(auto_of(&[discrete, integrated]), (Some("Arc"), "auto: the best GPU (discrete)".to_owned()));
        assert_eq!(auto_of(&[]), (None, format!("auto: {}", gpu::NONE_HERE)));
    }

    #[test]
    fn auto_passes_over_a_gpu_that_computes_wrong_numbers_and_goes_on() {
        let gpus = [Err("Arc computes wrong numbers"), Ok((AdapterKind::Integrated, "Iris"))];
        assert_eq!(auto_of(&gpus), (Some("Iris"), "auto: the best GPU that works (integrated)".to_owned()));
        let gpus = [Err("Arc computes wrong numbers"), Err("Iris opens no device")];
        let reason = "auto: no GPU works here: Arc computes wrong numbers; Iris opens no device".to_owned();
        assert_eq!(auto_of(&gpus), (None, reason));
    }
}
