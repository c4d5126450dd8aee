//! The GPU executor: runs a [`Plan`] through wgpu, dispatch by dispatch. Only this module imports wgpu.
//!
//! It is the last stage of a call, and decides nothing. The plan says which kernel runs on what. The
//! kernel's declaration says how it is bound and linked. Knows no model, no cell and no layout of weights.
//!
//! - `info` describes adapters, `adapter` chooses one, and `device` opens it and reports its errors.
//! - `pipelines` compiles programs, and `buffers` holds the weights. `bound`
//!   has a plan's own buffers, and `loaded` keeps both for the next call.
//! - `upload` writes the input and `readback` reads the results, both through `staging`. `states` holds device states.
//! - `clock` times programs on request, `objects` makes and counts all objects, and `tune` has the numbers.

mod adapter;
mod bound;
mod buffers;
mod clock;
mod device;
mod info;
mod loaded;
mod module;
mod objects;
mod pipelines;
mod readback;
mod staging;
mod states;
#[cfg(test)]
mod tests;
mod texture;
mod tune;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[cfg(not(target_arch = "wasm32"))]
pub use adapter::adapters;
pub(crate) use adapter::listed;
use bound::{Bound, Fill, Run, Want};
use device::Device;
pub(crate) use info::Choice;
pub use info::{AdapterInfo, AdapterKind};
pub(crate) use loaded::Loaded;
use pipelines::Pipelines;
use readback::PendingReadback;
pub(crate) use states::States;
pub(crate) use tune::MOST_CO_RESIDENT;

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Medium;
use crate::pack::PackedBuffer;
use crate::plan::{HostIo, Limits, Plan, Read, Results, SlotId, Spent, StateRow, Stopwatch, Timings};

/// The reason why `Choice::Auto` may find nothing.
pub(crate) const NONE_HERE: &str = "no discrete or integrated GPU here";

/// An open GPU. It serves several models and several threads at once.
pub(crate) struct Gpu {
    device: Device,
    pipelines: Pipelines,
    poison: AtomicBool,
    stalled: Arc<AtomicBool>,
}

/// A run whose results are on their way.
pub(crate) struct PendingRead {
    plan: Arc<Plan>,
    want: Want,
    readback: PendingReadback,
}

impl Gpu {
    /// Opens the GPU that `choice` means. Returns `None` if `Choice::Auto` or `Choice::Gpu` finds none of its rank.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if no adapter has the name
    /// (the message lists all adapters), or if the driver refuses.
    pub(crate) async fn open(choice: Choice) -> Result<Option<Self>> {
        let Some(found) = adapter::choose(&choice).await? else { return Ok(None) };
        let device = Device::open(found).await?;
        Ok(Some(Self {
            device,
            pipelines: Pipelines::default(),
            poison: AtomicBool::new(false),
            stalled: Arc::default(),
        }))
    }

    /// Returns the adapter, with the limits of the open device.
    pub(crate) fn info(&self) -> &AdapterInfo {
        &self.device.info
    }

    /// Returns the device's limits.
    pub(crate) fn limits(&self) -> Limits {
        self.device.limits()
    }

    /// Uploads the next buffer of a model's weights into `medium`. The host may drop it when this returns.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if it does not fit the device.
    pub(crate) async fn add(&self, loaded: &mut Loaded, buffer: PackedBuffer, medium: Medium) -> Result<()> {
        self.device.check()?;
        loaded.weights.add(&self.device, buffer, medium).await
    }

    /// Overwrites packed buffer `index` of `loaded` with `buffer`, which has the same size.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Lost` if the device is lost.
    pub(crate) async fn replace(&self, loaded: &Loaded, index: usize, buffer: &PackedBuffer) -> Result<()> {
        self.device.check()?;
        loaded.weights.replace(&self.device, index, buffer).await
    }

    /// Makes zeros for what `plan` keeps from run to run, unless they are there already.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if the device has no memory for them.
    pub(crate) async fn keep(&self, loaded: &mut Loaded, plan: &Plan) -> Result<()> {
        self.device.check()?;
        loaded.weights.keep(&self.device, plan).await
    }

    /// Overwrites what `loaded` keeps as `index` with `buffer`, which has the same size.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Lost` if the device is lost.
    pub(crate) async fn replace_kept(&self, loaded: &Loaded, index: usize, buffer: &PackedBuffer) -> Result<()> {
        self.device.check()?;
        loaded.weights.replace_kept(&self.device, index, buffer).await
    }

    /// Runs `plan`: `io` writes the feeds and takes the reads.
    ///
    /// # Errors
    ///
    /// Returns the errors of `io`, or an error of kind:
    ///
    /// - `Limits` if the plan's buffers do not fit the device;
    /// - `Lost` if the device is lost before the results are here;
    /// - `Device` if the device refuses.
    pub(crate) async fn run(&self, loaded: &Loaded, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<Timings> {
        let run = Run { io, states: None, fill: self.fill(), results: Results::Wanted };
        Ok(self.reuse(loaded, plan, Want::Reads, run).await?.0)
    }

    /// Does what [`run`](Self::run) does, and returns the time of each program by the device's own clock.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run`](Self::run), or an error of kind `Device` if the device has no clock.
    pub(crate) async fn run_clocked(&self, loaded: &Loaded, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<Spent> {
        let run = Run { io, states: None, fill: self.fill(), results: Results::Wanted };
        Ok(self.reuse(loaded, plan, Want::Clocked, run).await?.1)
    }

    /// Submits `plan`, and returns while the device still computes. [`wait_for`](Self::wait_for)
    /// then waits for the reads, if they are wanted. With `states` that stay on the device, rows
    /// from `first` on, `io` writes all feeds but them. Then only the output is read.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run`](Self::run).
    pub(crate) async fn send(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        io: &mut dyn HostIo,
        states: Option<(&mut States, usize)>,
        results: Results,
    ) -> Result<Option<PendingRead>> {
        self.device.check()?;
        let want = if states.is_some() { Want::Output } else { Want::Reads };
        let mut bound = self.bound(loaded, plan, want).await?;
        let run = Run { io, states, fill: self.fill(), results };
        let (readback, _) = self.submit(&mut bound, run).await?;
        loaded.put(bound);
        self.device.check()?;
        Ok(readback.map(|readback| PendingRead { plan: plan.clone(), want, readback }))
    }

    /// Waits for the results of a pending read, and hands them to `take`.
    /// If the future is dropped before, a later call may wait again.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Lost` if the device is lost before the results are here.
    pub(crate) async fn wait_for(&self, pending: &mut PendingRead, mut take: impl FnMut(Read, &[f32])) -> Result<()> {
        let PendingRead { plan, want, readback } = pending;
        readback.wait_mapped(&self.device).await?;
        for (index, read) in bound::wanted(plan, *want).enumerate() {
            readback.read(index, |data| take(*read, data)).map_err(|error| self.device.blame(error))?;
        }
        // What was reported while the device computed belongs to this run.
        self.device.check()
    }

    /// Makes `rows` rows of the states of `plan`'s model, which stay on the device.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if they do not fit the device.
    pub(crate) async fn states(&self, plan: &Plan, rows: usize) -> Result<States> {
        self.device.check()?;
        States::of(&self.device, plan, rows).await
    }

    /// Makes room for `rows` rows of `states`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`states`](Self::states).
    pub(crate) async fn grow(&self, states: &mut States, rows: usize) -> Result<()> {
        self.device.check()?;
        states.grow(&self.device, rows).await
    }

    /// Sets rows of `states`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` or `Lost` if the device fails.
    pub(crate) async fn set(&self, states: &mut States, rows: &[StateRow]) -> Result<()> {
        self.device.check()?;
        states.set(&self.device, rows).await
    }

    /// Runs `plan` on fresh, poisoned buffers, and returns all of every f32
    /// slot that is not weights. Returns `None` if its workgroups stalled.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run`](Self::run).
    pub(crate) async fn trace(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        io: &mut dyn HostIo,
    ) -> Result<Option<Vec<(SlotId, Vec<f32>)>>> {
        self.device.check()?;
        let mut bound = Bound::new(&self.device, &self.pipelines, &loaded.weights, plan, Want::Slots).await?;
        let run = Run { io, states: None, fill: Fill::Poison, results: Results::Wanted };
        let mut slots = Vec::new();
        let ended = self.drive(&mut bound, run, |_, _, data: &[f32]| slots.push(data.to_vec())).await?;
        Ok(ended.map(|_| bound::traced(plan).zip(slots).collect()))
    }

    /// Returns the flag that workgroups of a run have stalled. It stays set, so that planning can read it.
    pub(crate) fn stalled(&self) -> Arc<AtomicBool> {
        self.stalled.clone()
    }

    /// Returns the error of a run whose workgroups stalled.
    pub(crate) fn stall_error(&self) -> Error {
        let text =
            format!("{}: workgroups stalled: others of their dispatch did not run beside them", self.device.info.name);
        Error::new(ErrorKind::Device, text)
    }

    /// Returns how many objects were made so far: buffers, bind groups, pipelines and the like.
    pub(crate) fn objects(&self) -> u64 {
        self.device.objects()
    }

    /// Fills what a plan's kernels write with NaNs before every later run: for tests.
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

    fn fill(&self) -> Fill {
        if self.poison.load(Ordering::Relaxed) { Fill::Poison } else { Fill::Kept }
    }

    /// Runs `plan`, on the idle buffers of an earlier call if there are any. If
    /// its workgroups stall, the host reads nothing, and the device is marked.
    async fn reuse(&self, loaded: &Loaded, plan: &Arc<Plan>, want: Want, run: Run<'_>) -> Result<(Timings, Spent)> {
        self.device.check()?;
        let mut watch = Stopwatch::start();
        let mut bound = self.bound(loaded, plan, want).await?;
        let take = |io: &mut dyn HostIo, index: usize, data: &[f32]| {
            io.read(*bound::wanted(plan, want).nth(index).expect("a read for each that is wanted"), data);
        };
        let prepare = watch.lap();
        let Some((timings, spent)) = self.drive(&mut bound, run, take).await? else {
            if !self.stalled.swap(true, Ordering::Relaxed) {
                log::warn!(
                    "{}; from now on they share no layer: steps take the place of `persistent`",
                    self.stall_error()
                );
            }
            return Err(self.stall_error());
        };
        loaded.put(bound);
        Ok((Timings { prepare, ..timings }, spent))
    }

    /// Returns the buffers of `plan`: the idle ones of an earlier call if there are any, else new ones.
    async fn bound(&self, loaded: &Loaded, plan: &Arc<Plan>, want: Want) -> Result<Bound> {
        match loaded.take(plan, want) {
            Some(bound) => Ok(bound),
            None => Bound::new(&self.device, &self.pipelines, &loaded.weights, plan, want).await,
        }
    }

    /// Uploads and submits. Returns the results to come, if they are wanted, and the time that this took.
    async fn submit(&self, bound: &mut Bound, run: Run<'_>) -> Result<(Option<PendingReadback>, Duration)> {
        let mut watch = Stopwatch::start();
        let turn = bound.turn(&self.device, run.results).await?;
        let plan = bound.plan.clone();
        let readback = self.device.guard(&plan.title, || bound.submit(&self.device, turn, run)).await??;
        Ok((readback, watch.lap()))
    }

    /// Uploads, submits, waits, and reads what is wanted. Returns `None` if workgroups stalled, and then reads nothing.
    async fn drive(
        &self,
        bound: &mut Bound,
        run: Run<'_>,
        mut take: impl FnMut(&mut dyn HostIo, usize, &[f32]),
    ) -> Result<Option<(Timings, Spent)>> {
        let Run { io, states, fill, results } = run;
        let run = Run { io: &mut *io, states, fill, results };
        let (Some(mut readback), upload) = self.submit(bound, run).await? else {
            unreachable!("its results are wanted");
        };
        let mut watch = Stopwatch::start();
        readback.wait_mapped(&self.device).await?;
        let compute = watch.lap();
        if bound.has_stalled(&readback).map_err(|error| self.device.blame(error))? {
            return Ok(None);
        }
        let read = bound.read(&readback, &self.device.queue, |index, data| take(&mut *io, index, data));
        let spent = read.map_err(|error| self.device.blame(error))?;
        drop(readback);
        // What was reported while the device computed belongs to this run.
        self.device.check()?;
        Ok(Some((Timings { prepare: Duration::ZERO, upload, compute, readback: watch.lap() }, spent)))
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Gpu>();
    shared::<Loaded>();
};
