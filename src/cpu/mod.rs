//! The CPU executor: runs a `Plan` dispatch by dispatch on host buffers, each kernel as `kernel::catalog` says.
//!
//! It is the last stage of a call on a machine without a GPU. GPUs are compared with it, slot by slot and in speed.
//! It obeys the plan: it chooses instructions and threads, never what is computed. Knows no model and no layout.

#![deny(clippy::wildcard_enum_match_arm)]

mod across;
mod aside;
mod attention;
mod buffers;
mod cells;
mod convolve;
mod functions;
mod gates;
mod gemm;
mod join;
mod math;
mod normalize;
mod product;
mod rows;
mod sample;
mod scan;
mod states;
mod step;
mod team;
#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "tests are of some kernels")]
mod tests;
mod threads;
mod training;
mod tune;
mod wavefront;
mod windows;

use std::collections::BTreeSet;
use std::iter;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures_intrusive::sync::ManualResetEvent;
use pulp::Arch;

use crate::error::{Result, SMALLER_MODEL};
use crate::kernel::{Program, Training};
use crate::pack::Packed;
use crate::pack::PackedBuffer;
use crate::plan::{Dispatch, Feed, HostIo, Idle, Plan, Read, Results, SlotId, SlotKind, Spent};
use crate::platform::{Instant, Pool, parallel};
use buffers::{Bound, Buffer, Buffers, Floats, Weights, elems};
use step::Timestep;
use team::TeamMemory;

pub(crate) use aside::Computing;
pub(crate) use states::States;

/// [`Cpu::compute`] or [`Cpu::compute_update`].
type Compute = fn(&Cpu, &Plan, &mut Buffers, &Pool);

/// The executor, with a model's weights.
pub(crate) struct Cpu {
    arch: Arch,
    /// Written only by updates.
    weights: RwLock<Vec<Weights>>,
    /// What a training keeps, by its index.
    kept: Mutex<Vec<Floats>>,
    /// Unset while work on another thread writes weights or what a training keeps.
    /// The next call waits until it is set, even if nothing else waits for that work.
    settled: ManualResetEvent,
    /// Buffers of finished calls.
    idle: Mutex<Idle<Buffers>>,
    /// Teams of finished calls: as many as there were calls at once.
    teams: Mutex<Vec<TeamMemory>>,
}

impl Cpu {
    /// Creates an executor with these weights. They are widened, and rounded weights stay rounded.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if there is no memory for them.
    pub(crate) fn new(packed: Packed) -> Result<Self> {
        let cpu = Self::empty();
        packed.buffers.into_iter().try_for_each(|buffer| cpu.add(buffer))?;
        Ok(cpu)
    }

    /// Creates an executor without weights.
    pub(crate) fn empty() -> Self {
        Self {
            arch: Arch::new(),
            weights: RwLock::default(),
            kept: Mutex::default(),
            settled: ManualResetEvent::new(true),
            idle: Mutex::default(),
            teams: Mutex::default(),
        }
    }

    /// Adds the next buffer of weights. They are widened, and rounded weights stay rounded.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if there is no memory for it.
    pub(crate) fn add(&self, buffer: PackedBuffer) -> Result<()> {
        let widened = Weights::widened(buffer)?;
        self.weights_mut().push(widened);
        Ok(())
    }

    /// Replaces packed buffer `index` with `buffer`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if there is no memory for it.
    pub(crate) fn replace(&self, index: usize, buffer: PackedBuffer) -> Result<()> {
        let widened = Weights::widened(buffer)?;
        self.weights_mut()[index] = widened;
        Ok(())
    }

    /// Makes zeros for what `plan` keeps from run to run, unless they are there already.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if there is no memory for them.
    pub(crate) fn keep(&self, plan: &Plan) -> Result<()> {
        let kept = &mut *lock(&self.kept);
        for slot in &plan.slots {
            if let SlotKind::TrainState(index) = slot.kind {
                kept.resize_with(kept.len().max(index + 1), Floats::default);
                if kept[index].is_empty() {
                    kept[index] =
                        Floats::try_zeros(format_args!("slot {}", slot.name), elems(slot.bytes), SMALLER_MODEL)?;
                }
            }
        }
        Ok(())
    }

    /// Replaces what is kept as `index` with `buffer`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if there is no memory for it.
    pub(crate) fn replace_kept(&self, index: usize, buffer: PackedBuffer) -> Result<()> {
        let floats = Weights::widened(buffer)?.into_floats();
        lock(&self.kept)[index] = floats;
        Ok(())
    }

    /// Waits until no work on another thread writes weights or what a training keeps. It comes before any other call.
    pub(crate) async fn settled(&self) {
        self.settled.wait().await;
    }

    /// Runs a checked plan: `io` writes the feeds and takes the reads.
    ///
    /// # Errors
    ///
    /// Returns the errors of `io`, or an error of kind `Limits` if there is no memory for the plan.
    pub(crate) fn run(&self, plan: &Plan, io: &mut dyn HostIo) -> Result<()> {
        self.run_by(Self::compute, plan, io)
    }

    /// Runs a plan that writes weights, as [`run`](Self::run) runs others.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run`](Self::run).
    pub(crate) fn update(&self, plan: &Plan, io: &mut dyn HostIo) -> Result<()> {
        self.run_by(Self::compute_update, plan, io)
    }

    fn run_by(&self, compute: Compute, plan: &Plan, io: &mut dyn HostIo) -> Result<()> {
        let mut buffers = self.take(plan)?;
        let ran = self.lay_out(plan, &mut buffers, io);
        if ran.is_ok() {
            compute(self, plan, &mut buffers, &Pool::OfCaller);
            self.read(plan, &mut buffers, |read, data| io.read(read, data));
        }
        self.put(plan, buffers);
        ran
    }

    /// Computes a plan in `pool`. Locks are taken outside of the
    /// pool, since its threads take up other work while they wait.
    fn compute(&self, plan: &Plan, buffers: &mut Buffers, pool: &Pool) {
        let weights = &self.weights()[..];
        self.lend(plan, buffers, |buffers| pool.enter(|| self.execute(plan, buffers, weights, &mut |_| ())));
    }

    /// Computes a plan that writes weights, as [`compute`](Self::compute) does others.
    fn compute_update(&self, plan: &Plan, buffers: &mut Buffers, pool: &Pool) {
        let weights = &mut *self.weights_mut();
        buffers.swap_weights(plan, weights);
        self.lend(plan, buffers, |buffers| pool.enter(|| self.execute(plan, buffers, weights, &mut |_| ())));
        buffers.swap_weights(plan, weights);
    }

    /// Lets `io` lay out the feeds: some are among what a training keeps.
    fn lay_out(&self, plan: &Plan, buffers: &mut Buffers, io: &mut dyn HostIo) -> Result<()> {
        self.lend(plan, buffers, |buffers| write_feeds(plan, io, buffers, |_| true))
    }

    /// Hands the plan's reads to `take`.
    fn read(&self, plan: &Plan, buffers: &mut Buffers, mut take: impl FnMut(Read, &[f32])) {
        let weights = self.weights();
        self.lend(plan, buffers, |buffers| {
            plan.reads.iter().for_each(|read| take(*read, buffers.read(*read, &weights)));
        });
    }

    /// Does `work` while those slots of the plan have what a training keeps. Only one run has it at a time.
    fn lend<T>(&self, plan: &Plan, buffers: &mut Buffers, work: impl FnOnce(&mut Buffers) -> T) -> T {
        if !buffers.keep {
            return work(buffers);
        }
        let kept = &mut *lock(&self.kept);
        buffers.swap_kept(plan, kept);
        let done = work(buffers);
        buffers.swap_kept(plan, kept);
        done
    }

    /// Does what [`run`](Self::run) does, and returns the time of its programs.
    /// The recurrent programs of consecutive steps are timed together.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run`](Self::run).
    pub(crate) fn run_clocked(&self, plan: &Plan, io: &mut dyn HostIo) -> Result<Spent> {
        let mut buffers = self.take(plan)?;
        write_feeds(plan, io, &mut buffers, |_| true)?;
        let (mut spent, mut last) = (Spent::new(), Instant::now());
        self.execute(plan, &mut buffers, &self.weights(), &mut |stage| {
            let now = Instant::now();
            *spent.entry(stage.programs()).or_default() += now - std::mem::replace(&mut last, now);
        });
        self.read(plan, &mut buffers, |read, data| io.read(read, data));
        self.put(plan, buffers);
        Ok(spent)
    }

    /// Does what [`run`](Self::run) does on device states, rows from
    /// `first` on. `io` writes all other feeds, and takes only the output.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run`](Self::run); then the states stay as they were.
    pub(crate) fn run_on(
        &self,
        plan: &Plan,
        io: &mut dyn HostIo,
        (states, first): (&mut States, usize),
        results: Results,
    ) -> Result<()> {
        let mut buffers = self.take(plan)?;
        write_feeds(plan, io, &mut buffers, |feed| !feed.is_state())?;
        states.load(plan, first, &mut buffers);
        self.execute(plan, &mut buffers, &self.weights(), &mut |_| ());
        states.store(plan, first, &mut buffers);
        self.read_outputs(plan, &buffers, io, results);
        self.put(plan, buffers);
        Ok(())
    }

    /// Lets `io` take only the outputs, if they are wanted.
    fn read_outputs(&self, plan: &Plan, buffers: &Buffers, io: &mut dyn HostIo, results: Results) {
        let outputs = plan.reads.iter().filter(|read| results != Results::Unwanted && !read.fetch.is_state());
        let weights = self.weights();
        outputs.for_each(|read| io.read(*read, buffers.read(*read, &weights)));
    }

    /// Runs a checked plan, and returns every float slot except the weights as it is
    /// at the end: NaN where nothing wrote. Textures are copies, and are left out.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`run`](Self::run).
    pub(crate) fn trace(&self, plan: &Plan, io: &mut dyn HostIo) -> Result<Vec<(SlotId, Vec<f32>)>> {
        let mut buffers = Buffers::poisoned(plan)?;
        write_feeds(plan, io, &mut buffers, |_| true)?;
        self.execute(plan, &mut buffers, &self.weights(), &mut |_| ());
        let floats = buffers.slots.iter().enumerate().filter_map(|(slot, buffer)| match buffer {
            Buffer::Floats(_) if plan.slots[slot].kind == SlotKind::Texture => None,
            Buffer::Floats(data) => Some((slot, data.to_vec())),
            Buffer::Weights(_) | Buffer::Indices(_) => None,
        });
        Ok(floats.collect())
    }

    /// Computes `plan`, and calls `done` after each stage.
    fn execute(
        &self,
        plan: &Plan,
        buffers: &mut Buffers,
        weights: &[Weights],
        done: &mut (dyn FnMut(&Stage<'_>) + Send),
    ) {
        let mut team = lock(&self.teams).pop().unwrap_or_default();
        // The pool is entered once instead of for each dispatch: entering it costs more than a small step.
        if stages(plan).any(|stage| stage.threads(plan) > 1) {
            parallel::scope(|_| self.run_stages(plan, (buffers, weights), &mut team, done));
        } else {
            self.run_stages(plan, (buffers, weights), &mut team, done);
        }
        lock(&self.teams).push(team);
    }

    fn weights(&self) -> RwLockReadGuard<'_, Vec<Weights>> {
        self.weights.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn weights_mut(&self) -> RwLockWriteGuard<'_, Vec<Weights>> {
        self.weights.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes idle buffers for `plan` if some fit, or else makes new ones.
    fn take(&self, plan: &Plan) -> Result<Buffers> {
        let kept = lock(&self.idle).take(|buffers| buffers.fit(plan));
        kept.map_or_else(|| Buffers::of(plan), Ok)
    }

    /// Keeps the buffers of `plan` for the next call.
    fn put(&self, plan: &Plan, buffers: Buffers) {
        lock(&self.idle).put(buffers, plan.bytes(SlotKind::is_own));
    }

    fn run_stages(
        &self,
        plan: &Plan,
        (buffers, weights): (&mut Buffers, &[Weights]),
        team: &mut TeamMemory,
        done: &mut (dyn FnMut(&Stage<'_>) + Send),
    ) {
        for stage in stages(plan) {
            match &stage {
                Stage::Steps(steps) => team::Run::new(self.arch, plan, steps, weights).run(buffers, team),
                Stage::Single(dispatch) => self.dispatch(&mut Bound {
                    program: &plan.programs[dispatch.program],
                    params: &plan.params[dispatch.params],
                    sides: dispatch.grid[2] as usize,
                    windows: &dispatch.windows,
                    weights,
                    buffers,
                }),
            }
            done(&stage);
        }
    }

    fn dispatch(&self, bound: &mut Bound<'_>) {
        match *bound.program {
            Program::Gemm(_) => gemm::run(self.arch, bound),
            Program::Wavefront(step) => wavefront::run(self.arch, bound, step),
            Program::Scan(step) | Program::Persistent(step) => scan::run(self.arch, bound, step),
            Program::Training(Training::ScanBack(back)) => scan::run_back(self.arch, bound, back),
            Program::ResetMailbox => rows::reset_mailbox(bound),
            Program::Gather(_) => rows::gather(bound),
            Program::OneHot => rows::one_hot(bound),
            Program::FinalState => rows::final_state(bound),
            Program::MaskOutputs => rows::mask_outputs(bound),
            Program::Merge(combine) => rows::merge(bound, combine),
            Program::Join(join) => join::run(bound, join),
            Program::Softmax { log } => rows::softmax(self.arch, bound, log),
            Program::Activate(f) => rows::activate(self.arch, bound, f),
            Program::Normalize(norm) => normalize::run(self.arch, bound, norm),
            Program::Sample => sample::run(self.arch, bound),
            Program::Across(across) => across::run(self.arch, bound, across),
            Program::Attend(attend) => attention::run(self.arch, bound, attend),
            Program::Convolve(convolve) => convolve::run(self.arch, bound, convolve),
            Program::Training(training) => training::run(self.arch, bound, training),
            Program::Step(_) | Program::StepReset(_) | Program::StepNew(..) | Program::StepProject(_) => {
                unreachable!("a recurrent kernel is a stage of steps")
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The work between two points where all threads come together.
enum Stage<'a> {
    /// Consecutive recurrent dispatches.
    Steps(&'a [Dispatch]),
    /// A dispatch of another kernel.
    Single(&'a Dispatch),
}

/// Returns the dispatches of a plan, in order.
fn stages(plan: &Plan) -> impl Iterator<Item = Stage<'_>> {
    let mut rest = &plan.steps[..];
    iter::from_fn(move || {
        let first = rest.first()?;
        let is_step = Timestep::of(&plan.programs[first.program]).is_some();
        let (stage, after) = rest.split_at(if is_step { team::len(plan, rest) } else { 1 });
        rest = after;
        Some(if is_step { Stage::Steps(stage) } else { Stage::Single(first) })
    })
}

impl Stage<'_> {
    /// Returns the programs that are run, each once.
    fn programs(&self) -> Vec<usize> {
        let steps = match self {
            Self::Steps(steps) => steps,
            Self::Single(dispatch) => std::slice::from_ref(*dispatch),
        };
        steps.iter().map(|step| step.program).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Returns how many threads the stage is worth.
    fn threads(&self, plan: &Plan) -> usize {
        match self {
            Self::Steps(steps) => team::worth(plan, steps),
            Self::Single(dispatch) => {
                let (program, params) = (&plan.programs[dispatch.program], &plan.params[dispatch.params]);
                let sides = dispatch.grid[2] as usize;
                threads::worth(match program {
                    Program::Gemm(_) => gemm::ns(program, params, sides),
                    // These run on one thread, however long they take.
                    Program::Scan(_)
                    | Program::Persistent(_)
                    | Program::ResetMailbox
                    | Program::Training(Training::ScanBack(_)) => 0,
                    Program::Wavefront(_) => 2 * step::ns(program, params, sides),
                    Program::Sample => sample::ns(params),
                    Program::Across(across) => across::ns(*across, params),
                    Program::Attend(attend) => attention::ns(*attend, params),
                    Program::Convolve(convolve) => convolve::ns(*convolve, params),
                    Program::Training(training) => training::ns(*training, params, sides),
                    Program::Gather(_)
                    | Program::OneHot
                    | Program::FinalState
                    | Program::MaskOutputs
                    | Program::Merge(_)
                    | Program::Join(_)
                    | Program::Softmax { .. }
                    | Program::Normalize(_)
                    | Program::Activate(_) => rows::ns(params, sides),
                    Program::Step(_) | Program::StepReset(_) | Program::StepNew(..) | Program::StepProject(_) => {
                        unreachable!("a recurrent kernel is a stage of steps")
                    }
                })
            }
        }
    }
}

/// Lets `io` lay out the feeds that `pick` accepts, in the slots that the plan names.
fn write_feeds(plan: &Plan, io: &mut dyn HostIo, buffers: &mut Buffers, pick: impl Fn(Feed) -> bool) -> Result<()> {
    for write in plan.writes.iter().filter(|write| pick(write.feed)) {
        let words: &mut [u32] = match &mut buffers.slots[write.slot] {
            Buffer::Floats(data) => bytemuck::cast_slice_mut(data),
            Buffer::Indices(data) => data,
            Buffer::Weights(_) => unreachable!("a host writes no weights"),
        };
        io.write(*write, &mut words[elems(write.offset)..][..elems(write.bytes)])?;
    }
    Ok(())
}
