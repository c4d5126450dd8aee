//! Executor: runs a [`Plan`] on a GPU, dispatch by dispatch. The only importer of wgpu.
//!
//! The last stage of the road. It decides nothing: which kernel runs on what stands in the plan, how a kernel is
//! bound and linked in the kernel's declaration. It knows no model, no cell and no layout of weights.
//!
//! `adapter` chooses, `device` opens and reports errors, `pipelines` compiles, `buffers` holds the weights,
//! `bound` a plan's own buffers, `readback` brings results home.

mod adapter;
mod bound;
mod buffers;
mod device;
mod module;
mod pipelines;
mod readback;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use adapter::Choice;
#[cfg(not(target_arch = "wasm32"))]
pub use adapter::adapters;
pub use adapter::{AdapterInfo, AdapterKind};
use bound::{Bound, Fill, Want};
pub(crate) use buffers::Loaded;
use device::{Device, Wait};
use pipelines::Pipelines;

use crate::error::{Error, ErrorKind, Result};
use crate::pack::{Packed, PackedBuffer};
use crate::plan::{FeedData, Limits, Plan, SlotId};

/// An open GPU. It serves several models, and several threads at once.
pub(crate) struct Gpu {
    device: Device,
    pipelines: Pipelines,
    poison: AtomicBool,
}

/// What a run gives back.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// One for each read of the plan.
    pub(crate) reads: Vec<Vec<f32>>,
    /// Where the time went.
    pub(crate) timings: Timings,
}

/// Where the time of a run went, in microseconds. In a browser, which has no `std` clock, only the device's is set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Timings {
    /// To hand the feeds to the driver and record the dispatches.
    pub(crate) upload_us: f64,
    /// From the submit until the results lay in memory that the host reads.
    pub(crate) compute_us: f64,
    /// To copy them into vectors.
    pub(crate) readback_us: f64,
    /// From the start of the first dispatch to the end of the last by the device's own clock, where it has one.
    pub(crate) device_us: Option<f64>,
}

impl Gpu {
    /// Opens the GPU that `choice` means; `None` where `Choice::Auto` finds none of its rank.
    ///
    /// # Errors
    ///
    /// Kind `Device`: none has the name asked for (the message lists what there is), or the driver refuses.
    pub(crate) async fn open(choice: Choice) -> Result<Option<Self>> {
        let Some(found) = adapter::choose(&choice).await? else { return Ok(None) };
        let device = Device::open(found).await?;
        Ok(Some(Self { device, pipelines: Pipelines::default(), poison: AtomicBool::new(false) }))
    }

    /// The adapter, with the limits of the open device.
    pub(crate) fn info(&self) -> &AdapterInfo {
        &self.device.info
    }

    /// What the device can do.
    pub(crate) fn limits(&self) -> Limits {
        self.device.limits()
    }

    /// Uploads a model's weights.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where they do not fit the device.
    pub(crate) async fn load(&self, packed: Packed) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        for buffer in packed.buffers {
            self.add(&mut loaded, buffer).await?;
        }
        Ok(loaded)
    }

    /// Uploads the next buffer of a model's weights; when this returns, the host may forget it.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub(crate) async fn add(&self, loaded: &mut Loaded, buffer: PackedBuffer) -> Result<()> {
        self.device.check()?;
        loaded.add(&self.device, buffer).await
    }

    /// Runs `plan` with `feeds[i]` for `plan.writes[i]`. The future sleeps while the device computes.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the feeds are not those of the plan; `Limits`, where the plan's buffers do not fit the
    /// device; `Lost`, where the device is lost before the results are here; `Device`, where it refuses.
    pub(crate) async fn run(&self, loaded: &Loaded, plan: &Arc<Plan>, feeds: &[FeedData]) -> Result<Run> {
        self.reuse(loaded, plan, feeds, Wait::Aside).await
    }

    /// The same, in the calling thread, which spares the change of threads.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn run_blocking(&self, loaded: &Loaded, plan: &Arc<Plan>, feeds: &[FeedData]) -> Result<Run> {
        pollster::block_on(self.reuse(loaded, plan, feeds, Wait::Here))
    }

    /// Runs `plan` on fresh, poisoned buffers and returns every f32 slot that is not weights, in full.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    pub(crate) async fn trace(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        feeds: &[FeedData],
    ) -> Result<Vec<(SlotId, Vec<f32>)>> {
        self.admit(plan, feeds)?;
        let bound = Bound::new(&self.device, &self.pipelines, loaded, plan, Want::Slots).await?;
        let run = self.drive(&bound, feeds, Fill::Poison, Wait::Aside).await?;
        Ok(bound::traced(plan).zip(run.reads).collect())
    }

    /// From now on fills what a plan's kernels write with NaNs before every run: for tests.
    pub(crate) fn poison(&self) {
        self.poison.store(true, Ordering::Relaxed);
    }

    /// Whether the device is known to be lost, for good.
    pub(crate) fn is_lost(&self) -> bool {
        self.device.is_lost()
    }

    /// Loses the device, as a driver's crash does: for tests.
    pub(crate) fn lose(&self) {
        self.device.lose();
    }

    /// Runs `plan` on the buffers of an earlier call, where they are at rest.
    async fn reuse(&self, loaded: &Loaded, plan: &Arc<Plan>, feeds: &[FeedData], wait: Wait) -> Result<Run> {
        self.admit(plan, feeds)?;
        let bound = match loaded.take(plan) {
            Some(bound) => bound,
            None => Bound::new(&self.device, &self.pipelines, loaded, plan, Want::Reads).await?,
        };
        let fill = if self.poison.load(Ordering::Relaxed) { Fill::Poison } else { Fill::Kept };
        let run = self.drive(&bound, feeds, fill, wait).await?;
        loaded.put(bound);
        Ok(run)
    }

    /// Uploads, submits, waits and reads.
    async fn drive(&self, bound: &Bound, feeds: &[FeedData], fill: Fill, wait: Wait) -> Result<Run> {
        let mut watch = Stopwatch::start();
        let mut upload_us = 0.0;
        let submit = || {
            bound.upload(&self.device.queue, feeds, fill);
            let submitted = bound.submit(&self.device);
            upload_us = watch.lap_us();
            submitted
        };
        let (submission, landing) = self.device.guard(&bound.plan.title, submit).await?;
        self.device.wait(submission, wait).await?;
        landing.landed(&self.device).await?;
        let compute_us = watch.lap_us();
        let (reads, device_us) = bound.read(&self.device.queue).map_err(|error| self.device.blame(error))?;
        // What was reported while the device computed belongs to this run.
        self.device.check()?;
        let timings = Timings { upload_us, compute_us, readback_us: watch.lap_us(), device_us };
        Ok(Run { reads, timings })
    }

    /// Whether the device is well and `feeds` are those of `plan`.
    fn admit(&self, plan: &Plan, feeds: &[FeedData]) -> Result<()> {
        self.device.check()?;
        if feeds.len() != plan.writes.len() {
            let (expected, got) = (plan.writes.len(), feeds.len());
            return Err(Error::new(ErrorKind::Shape, format!("{}: expected {expected} feeds, got {got}", plan.title)));
        }
        for (write, feed) in plan.writes.iter().zip(feeds) {
            let got = feed.bytes().len() as u64;
            if got != write.bytes {
                return Err(Error::new(
                    ErrorKind::Shape,
                    format!("{}: {:?}: expected {} bytes, got {got}", plan.title, write.feed, write.bytes),
                ));
            }
        }
        Ok(())
    }
}

/// A clock of laps; it stands still in a browser, where `std` has none.
struct Stopwatch(#[cfg(not(target_arch = "wasm32"))] std::time::Instant);

impl Stopwatch {
    #[cfg(not(target_arch = "wasm32"))]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn lap_us(&mut self) -> f64 {
        let last = std::mem::replace(&mut self.0, std::time::Instant::now());
        (self.0 - last).as_secs_f64() * 1e6
    }

    #[cfg(target_arch = "wasm32")]
    fn start() -> Self {
        Self()
    }

    #[cfg(target_arch = "wasm32")]
    fn lap_us(&mut self) -> f64 {
        0.0
    }
}

#[cfg(not(target_arch = "wasm32"))]
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Gpu>();
    shared::<Loaded>();
};
