//! Runs on another thread, while the caller does other work.
//!
//! The host's side of a run stays with the caller: it lays out the feeds before, and takes the results after.
//! In between, a job owns the buffers. It returns them to the caller, or if that is gone, to the idle buffers.

use std::mem;
use std::sync::Arc;

use super::buffers::Buffers;
use super::states::States;
use super::{Compute, Cpu, write_feeds};
use crate::error::Result;
use crate::plan::{HostIo, Plan, Read, Results};
use crate::platform::{Aside, Threads, begin_aside, waits};

/// The buffers of a run under way.
struct Job {
    cpu: Arc<Cpu>,
    plan: Arc<Plan>,
    buffers: Buffers,
}

/// A run on another thread. It goes on if this is dropped.
pub(crate) struct Computing(Aside<Result<Job>>);

/// Keeps the executor unsettled until this is dropped.
struct Unsettled(Arc<Cpu>);

impl Unsettled {
    fn begin(cpu: &Arc<Cpu>) -> Self {
        cpu.settled.reset();
        Self(Arc::clone(cpu))
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.0.settled.set();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.cpu.put(&self.plan, mem::take(&mut self.buffers));
    }
}

impl Job {
    /// Takes buffers for a run of `plan`.
    fn of(cpu: &Arc<Cpu>, plan: &Arc<Plan>) -> Result<Self> {
        Ok(Self { cpu: Arc::clone(cpu), plan: Arc::clone(plan), buffers: cpu.take(plan)? })
    }

    /// Takes buffers for a run of `plan`, and lets `io` write the feeds.
    fn given(cpu: &Arc<Cpu>, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<Self> {
        let mut job = Self::of(cpu, plan)?;
        cpu.lay_out(plan, &mut job.buffers, io)?;
        Ok(job)
    }

    /// Starts to compute. What writes weights writes what a training keeps as well.
    fn begin(mut self, compute: Compute) -> Result<Computing> {
        let threads = Threads::of_caller();
        let unsettled = self.buffers.keep.then(|| Unsettled::begin(&self.cpu));
        let work = move || {
            compute(&self.cpu, &self.plan, &mut self.buffers, &threads.pool()?);
            drop(unsettled);
            Ok(self)
        };
        begin_aside(work).map(Computing)
    }
}

impl Computing {
    /// Waits for the run, and hands its reads to `take`. If this future is dropped before, a later call may wait again.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if the system gives no threads.
    pub(crate) async fn wait_for(&mut self, take: impl FnMut(Read, &[f32])) -> Result<()> {
        let Job { cpu, plan, buffers } = &mut self.0.ended().await?;
        cpu.read(plan, buffers, take);
        Ok(())
    }
}

impl Cpu {
    /// Does `change` to weights or to what a training keeps, and always completes it
    /// once begun. It runs on this thread if that may block, else on another one.
    ///
    /// # Errors
    ///
    /// Returns the error of `change`, or an error of kind `Device` if the system gives no thread.
    pub(crate) async fn change(
        self: &Arc<Self>,
        change: impl FnOnce(&Self) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.settled().await;
        if waits() {
            return change(self);
        }
        let unsettled = Unsettled::begin(self);
        begin_aside(move || change(&unsettled.0))?.ended().await
    }
}

/// Variants of the methods without `aside`, for an executor that has [settled](Cpu::settled).
impl Cpu {
    /// If the future is dropped, the run goes on. Its results are lost, but its changes to what a training keeps stay.
    pub(crate) async fn run_aside(self: &Arc<Self>, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<()> {
        let mut begun = Job::given(self, plan, io)?.begin(Self::compute)?;
        begun.wait_for(|read, data| io.read(read, data)).await
    }

    /// Begins an update, which cannot be cancelled.
    pub(crate) fn begin_update(self: &Arc<Self>, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<Computing> {
        Job::given(self, plan, io)?.begin(Self::compute_update)
    }

    /// If the future is dropped before it is ready, the states stay as they were.
    pub(crate) async fn run_on_aside(
        self: &Arc<Self>,
        plan: &Arc<Plan>,
        io: &mut dyn HostIo,
        (states, first): (&mut States, usize),
        results: Results,
    ) -> Result<()> {
        let mut job = Job::of(self, plan)?;
        write_feeds(plan, io, &mut job.buffers, |feed| !feed.is_state())?;
        states.load(plan, first, &mut job.buffers);
        let Computing(mut computing) = job.begin(Self::compute)?;
        let mut job = computing.ended().await?;
        states.store(plan, first, &mut job.buffers);
        self.read_outputs(plan, &job.buffers, io, results);
        Ok(())
    }
}
