//! The two executors behind one face, and which one a device means.
//!
//! Opens, runs and times; decides nothing about a plan.

use std::sync::Arc;

use crate::cpu::Cpu;
use crate::error::Result;
#[cfg(not(feature = "gpu"))]
use crate::error::{Error, ErrorKind};
#[cfg(feature = "gpu")]
use crate::gpu::{AdapterInfo, AdapterKind, Choice, Gpu, Loaded};
use crate::pack::Packed;
use crate::plan::tune::Target;
use crate::plan::{FeedData, Limits, Plan, SlotId};

use super::device::{Device, DeviceInfo};
use super::timings::{Timings, timed};

/// An executor with a model's weights.
pub(super) enum Executor {
    /// The host.
    Cpu(Box<Cpu>),
    /// A GPU.
    #[cfg(feature = "gpu")]
    Gpu {
        /// The open device.
        gpu: Box<Gpu>,
        /// The weights on it.
        loaded: Box<Loaded>,
    },
}

/// Where a caller waits for a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// In its own thread, which spares the change of threads.
    Here,
    /// Nowhere: the future sleeps.
    Aside,
}

impl Executor {
    /// The executor that `device` means, with the weights in it.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where there is no such device; `Limits`, where the weights do not fit it.
    pub(super) async fn open(device: &Device, packed: Packed) -> Result<(Self, DeviceInfo)> {
        let reason = match device {
            Device::Cpu => "asked for".to_owned(),
            #[cfg(feature = "gpu")]
            Device::Named(name) => {
                if let Some(gpu) = Gpu::open(Choice::Named(name.clone())).await? {
                    return Self::gpu(gpu, packed, format!("asked for as {name:?}")).await;
                }
                unreachable!("a name that means no adapter is an error");
            }
            #[cfg(feature = "gpu")]
            Device::Auto => match Gpu::open(Choice::Auto).await {
                Ok(Some(gpu)) => {
                    let reason = format!("auto: the best GPU ({})", gpu.info().kind);
                    return Self::gpu(gpu, packed, reason).await;
                }
                Ok(None) => "auto: no discrete or integrated GPU here".to_owned(),
                Err(e) => {
                    log::warn!("the GPU does not open: {e}");
                    format!("auto: the GPU does not open ({e})")
                }
            },
            #[cfg(not(feature = "gpu"))]
            Device::Named(name) => {
                return Err(Error::new(
                    ErrorKind::Device,
                    format!("device {name:?}: expected auto or cpu: this gatewave was built without the feature `gpu`"),
                ));
            }
            #[cfg(not(feature = "gpu"))]
            Device::Auto => "auto: built without the feature `gpu`".to_owned(),
        };
        Ok((Self::Cpu(Box::new(Cpu::new(packed))), DeviceInfo::cpu(reason)))
    }

    /// wgpu's validator, with the weights in it: it refuses what a device would, and computes nothing.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where the weights do not fit WebGPU's limits.
    #[cfg(feature = "gpu")]
    pub(super) async fn validator(packed: Packed) -> Result<(Self, DeviceInfo)> {
        let gpu = Gpu::open(Choice::Noop).await?.expect("wgpu always has its validator");
        Self::gpu(gpu, packed, "no device: validation alone".to_owned()).await
    }

    #[cfg(feature = "gpu")]
    async fn gpu(gpu: Gpu, packed: Packed, reason: String) -> Result<(Self, DeviceInfo)> {
        let loaded = gpu.load(packed).await?;
        let AdapterInfo { name, driver, driver_info, backend, .. } = gpu.info();
        let parts = [*backend, driver, driver_info].into_iter().filter(|part| !part.is_empty());
        let detail = parts.collect::<Vec<_>>().join(", ");
        let info = DeviceInfo { name: name.clone(), detail, reason };
        Ok((Self::Gpu { gpu: Box::new(gpu), loaded: Box::new(loaded) }, info))
    }

    /// What the device can do.
    pub(super) fn limits(&self) -> Limits {
        match self {
            Self::Cpu(cpu) => cpu.limits(),
            #[cfg(feature = "gpu")]
            Self::Gpu { gpu, .. } => gpu.limits(),
        }
    }

    /// What plans are to be made for.
    pub(super) fn target(&self) -> Target {
        match self {
            Self::Cpu(_) => Target::Host,
            #[cfg(feature = "gpu")]
            Self::Gpu { gpu, .. } if gpu.info().kind == AdapterKind::Software => Target::Software,
            #[cfg(feature = "gpu")]
            Self::Gpu { .. } => Target::Gpu,
        }
    }

    /// What `plan` reads, one for each of its reads; `feeds` are what it writes.
    #[cfg_attr(not(feature = "gpu"), expect(unused_variables, reason = "only a GPU is waited for"))]
    pub(super) async fn run(
        &self,
        plan: &Arc<Plan>,
        feeds: &[FeedData],
        wait: Wait,
    ) -> Result<(Vec<Vec<f32>>, Timings)> {
        let mut timings = Timings::default();
        match self {
            Self::Cpu(cpu) => {
                let reads = timed(&mut timings.compute, || cpu.run(plan, feeds))?;
                Ok((reads, timings))
            }
            #[cfg(feature = "gpu")]
            Self::Gpu { gpu, loaded } => {
                let run = match wait {
                    #[cfg(not(target_arch = "wasm32"))]
                    Wait::Here => gpu.run_blocking(loaded, plan, feeds)?,
                    _ => gpu.run(loaded, plan, feeds).await?,
                };
                timings = Timings::from_us(run.timings.upload_us, run.timings.compute_us, run.timings.readback_us);
                Ok((run.reads, timings))
            }
        }
    }

    /// Every f32 slot of `plan` that is not weights, after the last dispatch.
    pub(super) async fn trace(&self, plan: &Arc<Plan>, feeds: &[FeedData]) -> Result<Vec<(SlotId, Vec<f32>)>> {
        match self {
            Self::Cpu(cpu) => cpu.trace(plan, feeds),
            #[cfg(feature = "gpu")]
            Self::Gpu { gpu, loaded } => gpu.trace(loaded, plan, feeds).await,
        }
    }
}

/// Waits for `future` in this thread.
#[cfg(feature = "gpu")]
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

/// Waits for `future` in this thread. Without GPUs there is nothing to wait for.
#[cfg(not(feature = "gpu"))]
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    use std::task::{Context, Poll, Waker};
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("the CPU computes before it returns"),
    }
}
