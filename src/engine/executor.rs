//! The two executors behind one interface, and the choice of one for a device.
//!
//! Opens, runs and measures; decides nothing about a plan.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::cpu::Cpu;
use crate::error::{Error, ErrorKind, Result};
use crate::gpu::{self, AdapterInfo, AdapterKind, Choice, Gpu, Loaded};
use crate::kernel::Medium;
use crate::pack::PackedBuffer;
use crate::plan::tune::{Target, Tuning};
use crate::plan::{HostIo, Limits, Plan, SlotId, Spent, Timings};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::platform::{compute, waits};

use super::EngineBuilder;
use super::call_io::TimedIo;
use super::device::{Checked, Device, DeviceInfo, DeviceKind, SelfCheck};
use super::gpus;

/// An executor with a model's weights.
pub(super) enum Executor {
    /// The host.
    Cpu(Arc<Cpu>),
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
    /// Opens the device that `options` choose, after the self-check of the requested strategy.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Device` if there is no such device.
    pub(super) async fn open(options: &EngineBuilder) -> Result<(Self, DeviceInfo)> {
        Self::open_to(options, false).await
    }

    /// [`open`](Self::open), with the self-checks of training as well.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) async fn open_to_train(options: &EngineBuilder) -> Result<(Self, DeviceInfo)> {
        Self::open_to(options, true).await
    }

    async fn open_to(options: &EngineBuilder, trains: bool) -> Result<(Self, DeviceInfo)> {
        let (machine, device) = Self::open_device(&options.device, trains).await?;
        if let (Self::Gpu(gpu), Some(strategy), None) = (&machine, options.strategy, options.co_resident_workgroups) {
            gpus::self_checks(gpu, &[Checked::Running(strategy)]).await?;
        }
        Ok((machine, device))
    }

    /// Opens `device`: one that passes its self-checks, also those of training if it `trains`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Device` if there is no such device.
    async fn open_device(device: &Device, trains: bool) -> Result<(Self, DeviceInfo)> {
        let reason = match device {
            Device::Cpu => "asked for".to_owned(),
            Device::Named(name) => {
                if let Some(gpu) = gpus::open_sound(&Choice::Named(name.clone()), trains).await? {
                    return Ok(Self::gpu(gpu, format!("asked for as {name:?}")));
                }
                unreachable!("a name that means no adapter is an error");
            }
            Device::Auto => match best(device, trains).await {
                Ok((gpu, reason)) => return Ok(Self::gpu(gpu, format!("auto: {reason}"))),
                Err(why) => format!("auto: {why}"),
            },
            Device::Gpu => match best(device, trains).await {
                Ok((gpu, reason)) => return Ok(Self::gpu(gpu, format!("asked for: {reason}"))),
                Err(why) => return Err(no_gpu(&why).await),
            },
        };
        Ok((Self::Cpu, DeviceInfo::cpu(reason)))
    }

    /// Opens wgpu's validator: it refuses what a device would refuse, and computes nothing.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Device` if wgpu refuses.
    pub(super) async fn validator() -> Result<(Self, DeviceInfo)> {
        let Some(gpu) = Gpu::open(Choice::Noop).await?.map(Arc::new) else {
            unreachable!("wgpu always has its validator");
        };
        Ok(Self::gpu(gpu, "no device: validation alone".to_owned()))
    }

    /// [`open`](Self::open), for a GPU that no other engine shares, and without self-checks.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) async fn exclusive(device: &Device) -> Result<(Self, DeviceInfo)> {
        if let Some(choice) = choice(device, 0)
            && let Some(gpu) = Gpu::open(choice).await?
        {
            return Ok(Self::gpu(Arc::new(gpu), "asked for, unshared".to_owned()));
        }
        match device {
            Device::Gpu => Err(no_gpu(gpu::NONE_HERE).await),
            Device::Auto | Device::Cpu | Device::Named(_) => Self::open_device(&Device::Cpu, false).await,
        }
    }

    fn gpu(gpu: Arc<Gpu>, reason: String) -> (Self, DeviceInfo) {
        let AdapterInfo { name, driver, driver_info, backend, .. } = gpu.info();
        let parts = [*backend, driver, driver_info].into_iter().filter(|part| !part.is_empty());
        let detail = parts.collect::<Vec<_>>().join(", ");
        let info = DeviceInfo { name: name.clone(), detail, reason, place: DeviceKind::Gpu };
        (Self::Gpu(gpu), info)
    }

    /// The limits of the device, or those that `options` assume.
    pub(super) fn limits(&self, options: &EngineBuilder) -> Limits {
        let limits = match self {
            Self::Cpu => Limits::HOST,
            Self::Gpu(gpu) => Limits { co_resident_workgroups: gpus::co_resident(gpu), ..gpu.limits() },
        };
        let limits = Limits {
            co_resident_workgroups: options.co_resident_workgroups.unwrap_or(limits.co_resident_workgroups),
            ..limits
        };
        let Some(held) = options.limits else { return limits };
        Limits {
            binding_bytes: held.binding_bytes.min(limits.binding_bytes),
            buffer_bytes: held.buffer_bytes.min(limits.buffer_bytes),
            workgroups: held.workgroups.min(limits.workgroups),
            loop_iterations: held.loop_iterations.min(limits.loop_iterations),
            ..limits
        }
    }

    /// The flag that is set once workgroups of the device have stalled.
    pub(super) fn stalled(&self) -> Arc<AtomicBool> {
        match self {
            Self::Cpu => Arc::default(),
            Self::Gpu(gpu) => gpu.stalled(),
        }
    }

    /// How to make plans: by the strategy that `options` request, if any, and by none
    /// that failed the device's self-check.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Device` if the requested strategy failed it.
    pub(super) fn tuning(&self, options: &EngineBuilder) -> Result<Tuning> {
        let (own, strategy) = match self {
            Self::Cpu => (Target::Host, options.strategy),
            // Nobody has checked what `options` assume about the device.
            Self::Gpu(gpu) if options.co_resident_workgroups.is_some() => (gpus::target(gpu), options.strategy),
            Self::Gpu(gpu) => (gpus::target(gpu), gpus::sound(gpu, options.strategy)?),
        };
        let tuning = Tuning::of(options.target.unwrap_or(own)).with_strategy(strategy);
        Ok(tuning.with_chunk_bytes(options.chunk_bytes).with_keep_bytes(options.keep_bytes))
    }

    /// Makes the executor, without weights yet.
    pub(super) fn executor(self) -> Executor {
        match self {
            Self::Cpu => Executor::Cpu(Arc::new(Cpu::empty())),
            Self::Gpu(gpu) => Executor::Gpu { gpu, loaded: Box::default() },
        }
    }
}

impl Executor {
    /// The number of objects made on the GPU so far; 0 on the CPU.
    pub(super) fn gpu_objects(&self) -> u64 {
        match self {
            Self::Cpu(_) => 0,
            Self::Gpu { gpu, .. } => gpu.objects(),
        }
    }

    /// Adds the next packed buffer of the model's weights. A GPU should hold it in `medium`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if it does not fit the device.
    pub(super) async fn add(&mut self, buffer: PackedBuffer, medium: Medium) -> Result<()> {
        match self {
            Self::Cpu(cpu) => {
                let cpu = Arc::clone(cpu);
                compute(move || cpu.add(buffer)).await?
            }
            Self::Gpu { gpu, loaded } => gpu.add(loaded, buffer, medium).await,
        }
    }

    /// Replaces the packed buffers by `buffers` of the same sizes.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if the host has no memory for them, or of kind
    /// `ErrorKind::Lost` if the device is lost.
    pub(super) async fn replace(&mut self, buffers: Vec<PackedBuffer>) -> Result<()> {
        match self {
            Self::Cpu(cpu) => {
                let mut buffers = buffers.into_iter().enumerate();
                cpu.change(move |cpu| buffers.try_for_each(|(index, buffer)| cpu.replace(index, buffer))).await
            }
            Self::Gpu { gpu, loaded } => {
                for (index, buffer) in buffers.iter().enumerate() {
                    gpu.replace(loaded, index, buffer).await?;
                }
                Ok(())
            }
        }
    }

    /// Allocates what `plan` keeps from run to run, filled with zeros, unless it is there already.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if there is no memory for it.
    pub(super) async fn keep(&mut self, plan: &Plan) -> Result<()> {
        match self {
            Self::Cpu(cpu) => {
                cpu.settled().await;
                cpu.keep(plan)
            }
            Self::Gpu { gpu, loaded } => gpu.keep(loaded, plan).await,
        }
    }

    /// Replaces kept buffers by `buffers` of the same sizes, each with its index.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace).
    pub(super) async fn replace_kept(&mut self, buffers: Vec<(usize, PackedBuffer)>) -> Result<()> {
        match self {
            Self::Cpu(cpu) => {
                let mut buffers = buffers.into_iter();
                cpu.change(move |cpu| buffers.try_for_each(|(index, buffer)| cpu.replace_kept(index, buffer))).await
            }
            Self::Gpu { gpu, loaded } => {
                for (index, buffer) in &buffers {
                    gpu.replace_kept(loaded, *index, buffer).await?;
                }
                Ok(())
            }
        }
    }

    /// Runs `plan` with the host's side `io`, and returns where the time went.
    pub(super) async fn run(&self, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<Timings> {
        match self {
            Self::Cpu(cpu) => {
                let mut timed_io = TimedIo::begin(io);
                run_on_host(cpu, plan, &mut timed_io).await?;
                Ok(timed_io.end())
            }
            Self::Gpu { gpu, loaded } => gpu.run(loaded, plan, io).await,
        }
    }

    /// [`run`](Self::run), which also returns the time of each program of `plan`, alone or with others.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run). Returns an error of kind `ErrorKind::Device` if the device has no clock.
    pub(super) async fn run_clocked(&self, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<Spent> {
        match self {
            Self::Cpu(cpu) => {
                cpu.settled().await;
                cpu.run_clocked(plan, io)
            }
            Self::Gpu { gpu, loaded } => gpu.run_clocked(loaded, plan, io).await,
        }
    }

    /// Returns every f32 slot of `plan` except weights, after the last dispatch.
    pub(super) async fn trace(&self, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<Vec<(SlotId, Vec<f32>)>> {
        match self {
            Self::Cpu(cpu) => {
                cpu.settled().await;
                cpu.trace(plan, io)
            }
            Self::Gpu { gpu, loaded } => gpu.trace(loaded, plan, io).await?.ok_or_else(|| gpu.stall_error()),
        }
    }
}

/// Runs `plan` in this thread if the polling thread may block, else in another thread.
pub(super) async fn run_on_host(cpu: &Arc<Cpu>, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<()> {
    cpu.settled().await;
    if waits() || plan.steps.is_empty() { cpu.run(plan, io) } else { cpu.run_aside(plan, io).await }
}

/// Opens the best GPU among those that `device` means that passes its self-checks. Returns it with the reason for the
/// choice, or the reason why there is none.
async fn best(device: &Device, trains: bool) -> Result<(Arc<Gpu>, String), String> {
    first_sound(|rank| async move {
        let Some(choice) = choice(device, rank) else { return Ok(None) };
        let gpu = gpus::open_sound(&choice, trains).await?;
        Ok(gpu.map(|gpu| (gpu.info().kind, gpu)))
    })
    .await
}

/// The error if a GPU is required and there is none; `why` says why.
async fn no_gpu(why: &str) -> Error {
    let there = gpu::listed().await;
    let text = format!(
        "device gpu: expected a GPU, got none: {why}; there is {there}; `cpu` always works, and a software adapter runs by \
         its name"
    );
    Error::new(ErrorKind::Device, text)
}

/// Returns the first GPU by rank that `open` opens without an error, with the reason for the
/// choice; or the reason why there is none.
async fn first_sound<G, F>(open: impl Fn(usize) -> F) -> Result<(G, String), String>
where
    F: Future<Output = Result<Option<(AdapterKind, G)>>>,
{
    let mut refused = Vec::new();
    loop {
        match open(refused.len()).await {
            Ok(Some((kind, gpu))) => {
                let best = if refused.is_empty() { "the best GPU" } else { "the best GPU that works" };
                return Ok((gpu, format!("{best} ({kind})")));
            }
            Ok(None) if refused.is_empty() => return Err(gpu::NONE_HERE.to_owned()),
            Ok(None) => return Err(format!("no GPU works here: {}", refused.join("; "))),
            Err(e) => {
                log::warn!("a GPU is passed over: {e}");
                refused.push(e.to_string());
            }
        }
    }
}

impl Device {
    /// Returns the known-answer self-checks of the adapters that an engine on this device would try, in that
    /// order. An engine takes the first adapter that passes. A trainer takes the first that also passes
    /// those of training. There are none for the CPU.
    ///
    /// A check runs once in a process for each adapter and driver.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Device`](crate::ErrorKind::Device) if no adapter has the requested name or
    /// it does not open, or of kind [`ErrorKind::Lost`](crate::ErrorKind::Lost) if it is lost during a check.
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

/// Returns the self-checks of the adapters that `device` would try, up to the first that passes.
///
/// # Errors
///
/// As [`Machine::open`] on a named device.
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
        Device::Gpu => Some(Choice::Gpu { rank }),
        Device::Named(name) => (rank == 0).then(|| Choice::Named(name.clone())),
        Device::Cpu => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `auto` takes if these are the GPUs, best first.
    fn auto_of(gpus: &[Result<(AdapterKind, &'static str), &'static str>]) -> Result<(&'static str, String), String> {
        block_on(first_sound(async |rank| match gpus.get(rank) {
            None => Ok(None),
            Some(Ok(gpu)) => Ok(Some(*gpu)),
            Some(Err(fault)) => Err(Error::new(ErrorKind::Device, *fault)),
        }))
    }

    #[test]
    fn auto_takes_the_best_gpu_or_says_that_there_is_none() {
        let (discrete, integrated) = (Ok((AdapterKind::Discrete, "Arc")), Ok((AdapterKind::Integrated, "Iris")));
        assert_eq!(auto_of(&[discrete, integrated]), Ok(("Arc", "the best GPU (discrete)".to_owned())));
        assert_eq!(auto_of(&[]), Err(gpu::NONE_HERE.to_owned()));
    }

    #[test]
    fn auto_passes_over_a_gpu_that_computes_wrong_numbers_and_goes_on() {
        let gpus = [Err("Arc computes wrong numbers"), Ok((AdapterKind::Integrated, "Iris"))];
        assert_eq!(auto_of(&gpus), Ok(("Iris", "the best GPU that works (integrated)".to_owned())));
        let gpus = [Err("Arc computes wrong numbers"), Err("Iris opens no device")];
        let reason = "no GPU works here: Arc computes wrong numbers; Iris opens no device".to_owned();
        assert_eq!(auto_of(&gpus), Err(reason));
    }

    #[test]
    fn no_gpu_is_told_with_the_adapters_that_there_are() {
        let error = block_on(no_gpu(gpu::NONE_HERE));
        assert_eq!(error.kind(), ErrorKind::Device);
        let (text, begin) =
            (error.to_string(), format!("device gpu: expected a GPU, got none: {}; there is ", gpu::NONE_HERE));
        let there = text.strip_prefix(&begin).and_then(|rest| rest.split_once("; `cpu` always works"));
        assert!(there.is_some_and(|(there, _)| there == block_on(gpu::listed())), "{text}");
    }
}
