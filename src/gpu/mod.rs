//! Executor: runs a [`Plan`] on a GPU, dispatch by dispatch. The only importer of wgpu.
//!
//! The last stage of the road. It decides nothing: which kernel runs on what stands in the plan, how a kernel is
//! bound and linked in the kernel's declaration. It knows no model, no cell and no layout of weights.
//!
//! `info` is what is said of them, `adapter` chooses, `device` opens and reports errors, `pipelines` compiles, `buffers` holds the weights, `bound` a
//! plan's own buffers, `loaded` keeps both for the next call; `upload` brings the input, `readback` the results home, both
//! by `staging`, `states` what stays; `clock` times programs where that is asked for; `objects` makes and counts what all of
//! them use; `tune` has the numbers.

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

#[cfg(not(target_arch = "wasm32"))]
pub use adapter::adapters;
use bound::{Bound, Fill, Run, Want};
use device::Device;
pub use info::{AdapterInfo, AdapterKind};
pub(crate) use info::{Choice, Timings, Wait};
pub(crate) use loaded::Loaded;
use pipelines::Pipelines;
use readback::Landing;
pub(crate) use states::States;
pub(crate) use tune::MOST_RESIDENT;

use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Medium;
use crate::pack::PackedBuffer;
use crate::plan::{Caller, Limits, Plan, Read, Results, SlotId, Spent, StateRow};
use crate::platform::Instant;

/// Why `Choice::Auto` may find nothing.
pub(crate) const NONE_HERE: &str = "no discrete or integrated GPU here";

/// An open GPU. It serves several models, and several threads at once.
pub(crate) struct Gpu {
    device: Device,
    pipelines: Pipelines,
    poison: AtomicBool,
    stalled: Arc<AtomicBool>,
}

/// A run whose results are on their way.
pub(crate) struct Flight {
    plan: Arc<Plan>,
    want: Want,
    landing: Landing,
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
        Ok(Some(Self {
            device,
            pipelines: Pipelines::default(),
            poison: AtomicBool::new(false),
            stalled: Arc::default(),
        }))
    }

    /// The adapter, with the limits of the open device.
    pub(crate) fn info(&self) -> &AdapterInfo {
        &self.device.info
    }

    /// What the device can do.
    pub(crate) fn limits(&self) -> Limits {
        self.device.limits()
    }

    /// Uploads the next buffer of a model's weights into `medium`; when this returns, the host may forget it.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where it does not fit the device.
    pub(crate) async fn add(&self, loaded: &mut Loaded, buffer: PackedBuffer, medium: Medium) -> Result<()> {
        self.device.check()?;
        loaded.weights.add(&self.device, buffer, medium).await
    }

    /// Writes `buffer` over packed buffer `index` of `loaded`, which is as large.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where the device is lost.
    pub(crate) async fn replace(&self, loaded: &Loaded, index: usize, buffer: &PackedBuffer) -> Result<()> {
        self.device.check()?;
        loaded.weights.replace(&self.device, index, buffer).await
    }

    /// Makes zeros for what `plan` keeps from run to run and is not there yet.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where the device has no memory for them.
    pub(crate) async fn keep(&self, loaded: &mut Loaded, plan: &Plan) -> Result<()> {
        self.device.check()?;
        loaded.weights.keep(&self.device, plan).await
    }

    /// Writes `buffer` over what `loaded` keeps as `index`, which is as large.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where the device is lost.
    pub(crate) async fn replace_kept(&self, loaded: &Loaded, index: usize, buffer: &PackedBuffer) -> Result<()> {
        self.device.check()?;
        loaded.weights.replace_kept(&self.device, index, buffer).await
    }

    /// Runs `plan` with what `caller` gives, and lets it take what the plan reads.
    ///
    /// # Errors
    ///
    /// Those of `caller`; kind `Limits`, where the plan's buffers do not fit the device; `Lost`, where the device is lost
    /// before the results are here; `Device`, where it refuses.
    pub(crate) async fn run(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        caller: &mut dyn Caller,
        wait: Wait,
    ) -> Result<Timings> {
        let run = Run { caller, states: None, fill: self.fill(), results: Results::Wanted };
        Ok(self.reuse(loaded, plan, Want::Reads, run, wait).await?.0)
    }

    /// [`run`](Self::run), and what each program took by the device's own clock.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); kind `Device`, where the device has no clock.
    pub(crate) async fn run_clocked(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        caller: &mut dyn Caller,
        wait: Wait,
    ) -> Result<Spent> {
        let run = Run { caller, states: None, fill: self.fill(), results: Results::Wanted };
        Ok(self.reuse(loaded, plan, Want::Clocked, run, wait).await?.1)
    }

    /// Submits `plan`. The device still computes when this returns: what [`land`](Self::land) then waits for is what it reads,
    /// where that is wanted. On `states` that stay on the device, rows from `first` on, `caller` gives all but them, and the
    /// output alone is read.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(crate) async fn send(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        caller: &mut dyn Caller,
        states: Option<(&mut States, usize)>,
        results: Results,
        wait: Wait,
    ) -> Result<Option<Flight>> {
        self.device.check()?;
        let want = if states.is_some() { Want::Output } else { Want::Reads };
        let mut bound = self.bound(loaded, plan, want).await?;
        let run = Run { caller, states, fill: self.fill(), results };
        let (landing, _) = self.submit(&mut bound, run, wait).await?;
        loaded.put(bound);
        self.device.check()?;
        Ok(landing.map(|landing| Flight { plan: plan.clone(), want, landing }))
    }

    /// Waits for the results of a flight, and lets `take` have them. Where the future is dropped before, it may be waited
    /// for again.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where the device is lost before they are here.
    pub(crate) async fn land(&self, flight: &mut Flight, mut take: impl FnMut(Read, &[f32]), wait: Wait) -> Result<()> {
        let Flight { plan, want, landing } = flight;
        landing.landed(&self.device, wait).await?;
        for (index, read) in bound::wanted(plan, *want).enumerate() {
            landing.read(index, |data| take(*read, data)).map_err(|error| self.device.blame(error))?;
        }
        // What was reported while the device computed belongs to this run.
        self.device.check()
    }

    /// `rows` rows of the states of `plan`'s model, to stay on the device.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where they do not fit it.
    pub(crate) async fn states(&self, plan: &Plan, rows: usize) -> Result<States> {
        self.device.check()?;
        States::of(&self.device, plan, rows).await
    }

    /// Makes room for `rows` rows of `states`.
    ///
    /// # Errors
    ///
    /// As [`states`](Self::states).
    pub(crate) async fn grow(&self, states: &mut States, rows: usize) -> Result<()> {
        self.device.check()?;
        states.grow(&self.device, rows).await
    }

    /// Sets rows of `states`.
    ///
    /// # Errors
    ///
    /// Kind `Device` or `Lost`, where the device fails.
    pub(crate) async fn set(&self, states: &mut States, rows: &[StateRow]) -> Result<()> {
        self.device.check()?;
        states.set(&self.device, rows).await
    }

    /// Runs `plan` on fresh, poisoned buffers and returns every f32 slot that is not weights, in full; `None` where its
    /// workgroups waited for each other in vain.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    pub(crate) async fn trace(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        caller: &mut dyn Caller,
    ) -> Result<Option<Vec<(SlotId, Vec<f32>)>>> {
        self.device.check()?;
        let mut bound = Bound::new(&self.device, &self.pipelines, &loaded.weights, plan, Want::Slots).await?;
        let run = Run { caller, states: None, fill: Fill::Poison, results: Results::Wanted };
        let mut slots = Vec::new();
        let ended = self.drive(&mut bound, run, Wait::Aside, |_, _, data: &[f32]| slots.push(data.to_vec())).await?;
        Ok(ended.map(|_| bound::traced(plan).zip(slots).collect()))
    }

    /// Whether workgroups of a run have waited for each other in vain: from then on so, for whoever plans.
    pub(crate) fn stalled(&self) -> Arc<AtomicBool> {
        self.stalled.clone()
    }

    /// The error of a run whose workgroups waited for each other in vain.
    pub(crate) fn in_vain(&self) -> Error {
        let text = format!("{}: workgroups waited in vain for others of their dispatch", self.device.info.name);
        Error::new(ErrorKind::Device, text)
    }

    /// How many buffers, bind groups, pipelines and the like were made so far.
    pub(crate) fn objects(&self) -> u64 {
        self.device.objects()
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

    fn fill(&self) -> Fill {
        if self.poison.load(Ordering::Relaxed) { Fill::Poison } else { Fill::Kept }
    }

    /// Runs `plan` on the buffers of an earlier call, where they are at rest. Where its workgroups wait in vain, the caller
    /// takes nothing, and the device is marked.
    async fn reuse(
        &self,
        loaded: &Loaded,
        plan: &Arc<Plan>,
        want: Want,
        run: Run<'_>,
        wait: Wait,
    ) -> Result<(Timings, Spent)> {
        self.device.check()?;
        let mut watch = Stopwatch::start();
        let mut bound = self.bound(loaded, plan, want).await?;
        let take = |caller: &mut dyn Caller, index: usize, data: &[f32]| {
            caller.take(*bound::wanted(plan, want).nth(index).expect("a read for each that is wanted"), data);
        };
        let prepare_us = watch.lap_us();
        let Some((timings, spent)) = self.drive(&mut bound, run, wait, take).await? else {
            if !self.stalled.swap(true, Ordering::Relaxed) {
                log::warn!("{}; from now on they share no layer: steps take the place of `persistent`", self.in_vain());
            }
            return Err(self.in_vain());
        };
        loaded.put(bound);
        Ok((Timings { prepare_us, ..timings }, spent))
    }

    /// The buffers of `plan`: those of an earlier call, where they are at rest, else new ones.
    async fn bound(&self, loaded: &Loaded, plan: &Arc<Plan>, want: Want) -> Result<Bound> {
        match loaded.take(plan, want) {
            Some(bound) => Ok(bound),
            None => Bound::new(&self.device, &self.pipelines, &loaded.weights, plan, want).await,
        }
    }

    /// Uploads and submits: what lands then, where it is wanted, and the microseconds that it took.
    async fn submit(&self, bound: &mut Bound, run: Run<'_>, wait: Wait) -> Result<(Option<Landing>, f64)> {
        let mut watch = Stopwatch::start();
        let turn = bound.turn(&self.device, run.results, wait).await?;
        let plan = bound.plan.clone();
        let landing = self.device.guard(&plan.title, || bound.submit(&self.device, turn, run)).await??;
        Ok((landing, watch.lap_us()))
    }

    /// Uploads, submits, waits and reads what is wanted; `None` where workgroups waited for each other in vain, and nothing
    /// is taken.
    async fn drive(
        &self,
        bound: &mut Bound,
        run: Run<'_>,
        wait: Wait,
        mut take: impl FnMut(&mut dyn Caller, usize, &[f32]),
    ) -> Result<Option<(Timings, Spent)>> {
        let Run { caller, states, fill, results } = run;
        let run = Run { caller: &mut *caller, states, fill, results };
        let (Some(mut landing), upload_us) = self.submit(bound, run, wait).await? else {
            unreachable!("its results are wanted");
        };
        let mut watch = Stopwatch::start();
        landing.landed(&self.device, wait).await?;
        let compute_us = watch.lap_us();
        if bound.has_stalled(&landing).map_err(|error| self.device.blame(error))? {
            return Ok(None);
        }
        let read = bound.read(&landing, &self.device.queue, |index, data| take(&mut *caller, index, data));
        let spent = read.map_err(|error| self.device.blame(error))?;
        drop(landing);
        // What was reported while the device computed belongs to this run.
        self.device.check()?;
        Ok(Some((Timings { prepare_us: 0.0, upload_us, compute_us, readback_us: watch.lap_us() }, spent)))
    }
}

/// A clock of laps.
struct Stopwatch(Instant);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn lap_us(&mut self) -> f64 {
        let last = std::mem::replace(&mut self.0, Instant::now());
        (self.0 - last).as_secs_f64() * 1e6
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Gpu>();
    shared::<Loaded>();
};
