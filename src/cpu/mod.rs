//! The CPU executor: runs a `Plan` dispatch by dispatch on host buffers, each kernel as `kernel::catalog` says.
//!
//! The last stage of the road on a machine without a GPU, and what a GPU is compared with, slot by slot and in speed.
//! It obeys the plan: it chooses instructions and threads, never what is computed. Knows no model and no layout.

#![deny(clippy::wildcard_enum_match_arm)]

mod buffers;
mod cells;
mod crew;
mod diagonal;
mod functions;
mod gates;
mod join;
mod math;
mod product;
mod project;
mod rows;
mod sample;
mod scan;
mod states;
mod step;
#[cfg(test)]
#[allow(clippy::wildcard_enum_match_arm, reason = "tests are of some kernels")]
mod tests;
mod threads;
mod training;
mod tune;

use std::collections::BTreeSet;
use std::iter;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pulp::Arch;

use crate::error::{Result, SMALLER_MODEL};
use crate::kernel::{Program, Training};
use crate::pack::Packed;
use crate::pack::PackedBuffer;
use crate::plan::{Caller, Dispatch, Feed, Idle, Plan, Results, SlotId, SlotKind, Spent};
use crate::platform::{Instant, parallel};
use buffers::{Bound, Buffer, Buffers, Floats, Weights, elems};
use crew::Team;
use step::Timestep;

pub(crate) use states::States;

/// The executor, with a model's weights.
pub(crate) struct Cpu {
    arch: Arch,
    weights: Vec<Weights>,
    /// What a training keeps, by its index.
    kept: Mutex<Vec<Floats>>,
    /// Buffers of calls that are done.
    idle: Mutex<Idle<Buffers>>,
    /// Teams of calls that are done: as many as there were calls at once.
    teams: Mutex<Vec<Team>>,
}

impl Cpu {
    /// An executor with these weights. They are widened: what was rounded stays so.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for them.
    pub(crate) fn new(packed: Packed) -> Result<Self> {
        let mut cpu = Self::empty();
        packed.buffers.into_iter().try_for_each(|buffer| cpu.add(buffer))?;
        Ok(cpu)
    }

    /// An executor without weights yet.
    pub(crate) fn empty() -> Self {
        Self {
            arch: Arch::new(),
            weights: Vec::new(),
            kept: Mutex::default(),
            idle: Mutex::default(),
            teams: Mutex::default(),
        }
    }

    /// Takes the next buffer of weights. They are widened: what was rounded stays so.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for it.
    pub(crate) fn add(&mut self, buffer: PackedBuffer) -> Result<()> {
        self.weights.push(Weights::widened(buffer)?);
        Ok(())
    }

    /// Takes `buffer` in the place of packed buffer `index`.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for it.
    pub(crate) fn replace(&mut self, index: usize, buffer: PackedBuffer) -> Result<()> {
        self.weights[index] = Weights::widened(buffer)?;
        Ok(())
    }

    /// Makes zeros for what `plan` keeps from run to run and is not there yet.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for them.
    pub(crate) fn keep(&mut self, plan: &Plan) -> Result<()> {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        for slot in &plan.slots {
            if let SlotKind::Kept(index) = slot.kind {
                kept.resize_with(kept.len().max(index + 1), Floats::default);
                if kept[index].is_empty() {
                    kept[index] =
                        Floats::try_zeros(format_args!("slot {}", slot.name), elems(slot.bytes), SMALLER_MODEL)?;
                }
            }
        }
        Ok(())
    }

    /// Takes `buffer` in the place of what is kept as `index`.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for it.
    pub(crate) fn replace_kept(&mut self, index: usize, buffer: PackedBuffer) -> Result<()> {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        kept[index] = Weights::widened(buffer)?.into_floats();
        Ok(())
    }

    /// Runs a checked plan with what `caller` gives, and lets it take what the plan reads.
    ///
    /// # Errors
    ///
    /// Those of `caller`; kind `Limits`, where there is no memory for the plan.
    pub(crate) fn run(&self, plan: &Plan, caller: &mut dyn Caller) -> Result<()> {
        let mut buffers = self.take(plan)?;
        let ran = self.run_in(plan, caller, &mut buffers);
        self.put(plan, buffers);
        ran
    }

    /// [`run`](Self::run) of a plan that writes weights.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(crate) fn update(&mut self, plan: &Plan, caller: &mut dyn Caller) -> Result<()> {
        let mut buffers = self.take(plan)?;
        buffers.swap_weights(plan, &mut self.weights);
        let ran = self.run_in(plan, caller, &mut buffers);
        buffers.swap_weights(plan, &mut self.weights);
        self.put(plan, buffers);
        ran
    }

    fn run_in(&self, plan: &Plan, caller: &mut dyn Caller, buffers: &mut Buffers) -> Result<()> {
        // Whoever runs a plan of what is kept has it alone.
        let keeps = plan.slots.iter().any(|slot| matches!(slot.kind, SlotKind::Kept(_)));
        let mut kept = keeps.then(|| lock(&self.kept));
        if let Some(kept) = &mut kept {
            buffers.swap_kept(plan, kept);
        }
        let given = give(plan, caller, buffers, |_| true);
        if given.is_ok() {
            self.execute(plan, buffers, &mut |_| ());
            plan.reads.iter().for_each(|read| caller.take(*read, buffers.read(*read, &self.weights)));
        }
        if let Some(kept) = &mut kept {
            buffers.swap_kept(plan, kept);
        }
        given
    }

    /// [`run`](Self::run), and what its programs took; the recurrent ones of a run of steps together.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(crate) fn run_clocked(&self, plan: &Plan, caller: &mut dyn Caller) -> Result<Spent> {
        let mut buffers = self.take(plan)?;
        give(plan, caller, &mut buffers, |_| true)?;
        let (mut spent, mut last) = (Spent::new(), Instant::now());
        self.execute(plan, &mut buffers, &mut |stage| {
            let now = Instant::now();
            *spent.entry(stage.programs()).or_default() += now - std::mem::replace(&mut last, now);
        });
        plan.reads.iter().for_each(|read| caller.take(*read, buffers.read(*read, &self.weights)));
        self.put(plan, buffers);
        Ok(spent)
    }

    /// [`run`](Self::run) on states that stay here, rows from `first` on: `caller` gives all but them, and takes the
    /// output alone.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); then the states stay as they were.
    pub(crate) fn run_on(
        &self,
        plan: &Plan,
        caller: &mut dyn Caller,
        (states, first): (&mut States, usize),
        results: Results,
    ) -> Result<()> {
        let mut buffers = self.take(plan)?;
        give(plan, caller, &mut buffers, |feed| !feed.is_state())?;
        states.load(plan, first, &mut buffers);
        self.execute(plan, &mut buffers, &mut |_| ());
        states.store(plan, first, &mut buffers);
        let outputs = plan.reads.iter().filter(|read| results != Results::Unwanted && !read.fetch.is_state());
        outputs.for_each(|read| caller.take(*read, buffers.read(*read, &self.weights)));
        self.put(plan, buffers);
        Ok(())
    }

    /// Runs a checked plan and gives every float slot but the weights as it is at the end: NaN where nothing wrote. Textures,
    /// which are copies, are left out.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(crate) fn trace(&self, plan: &Plan, caller: &mut dyn Caller) -> Result<Vec<(SlotId, Vec<f32>)>> {
        let mut buffers = Buffers::poisoned(plan)?;
        give(plan, caller, &mut buffers, |_| true)?;
        self.execute(plan, &mut buffers, &mut |_| ());
        let floats = buffers.slots.iter().enumerate().filter_map(|(slot, buffer)| match buffer {
            Buffer::Floats(_) if plan.slots[slot].kind == SlotKind::Texture => None,
            Buffer::Floats(data) => Some((slot, data.to_vec())),
            Buffer::Weights(_) | Buffer::Indices(_) => None,
        });
        Ok(floats.collect())
    }

    /// Computes `plan`, and calls `done` after each stage.
    fn execute(&self, plan: &Plan, buffers: &mut Buffers, done: &mut (dyn FnMut(&Stage<'_>) + Send)) {
        let mut team = lock(&self.teams).pop().unwrap_or_default();
        // Inside the pool once, and not anew for each dispatch: entering it costs more than a small step.
        if stages(plan).any(|stage| stage.threads(plan) > 1) {
            parallel::scope(|_| self.run_stages(plan, buffers, &mut team, done));
        } else {
            self.run_stages(plan, buffers, &mut team, done);
        }
        lock(&self.teams).push(team);
    }

    /// Buffers for `plan`: kept ones if they fit.
    fn take(&self, plan: &Plan) -> Result<Buffers> {
        let kept = lock(&self.idle).take(|buffers| buffers.fit(plan));
        kept.map_or_else(|| Buffers::of(plan), Ok)
    }

    /// Puts the buffers of `plan` to rest.
    fn put(&self, plan: &Plan, buffers: Buffers) {
        lock(&self.idle).put(buffers, plan.bytes(SlotKind::is_own));
    }

    fn run_stages(
        &self,
        plan: &Plan,
        buffers: &mut Buffers,
        team: &mut Team,
        done: &mut (dyn FnMut(&Stage<'_>) + Send),
    ) {
        for stage in stages(plan) {
            match &stage {
                Stage::Steps(steps) => crew::Run::new(self.arch, plan, steps, &self.weights).run(buffers, team),
                Stage::Single(dispatch) => self.dispatch(&mut Bound {
                    program: &plan.programs[dispatch.program],
                    params: &plan.params[dispatch.params],
                    sides: dispatch.grid[2] as usize,
                    windows: &dispatch.windows,
                    weights: &self.weights,
                    buffers,
                }),
            }
            done(&stage);
        }
    }

    fn dispatch(&self, bound: &mut Bound<'_>) {
        match *bound.program {
            Program::Project(_) => project::run(self.arch, bound),
            Program::Diagonal(step) => diagonal::run(self.arch, bound, step),
            Program::Scan(step) | Program::Persistent(step) => scan::run(self.arch, bound, step),
            Program::Training(Training::ScanBack(back)) => scan::run_back(self.arch, bound, back),
            Program::Clear => rows::clear(bound),
            Program::Gather(_) => rows::gather(bound),
            Program::OneHot => rows::one_hot(bound),
            Program::Pick => rows::pick(bound),
            Program::Blank => rows::blank(bound),
            Program::Merge(combine) => rows::merge(bound, combine),
            Program::Join(join) => join::run(bound, join),
            Program::Softmax { log } => rows::softmax(self.arch, bound, log),
            Program::Activate(f) => rows::activate(self.arch, bound, f),
            Program::Sample => sample::run(self.arch, bound),
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

/// What is computed before the threads come together again.
enum Stage<'a> {
    /// A run of recurrent kernels.
    Steps(&'a [Dispatch]),
    /// A dispatch of another kernel.
    Single(&'a Dispatch),
}

/// The dispatches of a plan, in order.
fn stages(plan: &Plan) -> impl Iterator<Item = Stage<'_>> {
    let mut rest = &plan.steps[..];
    iter::from_fn(move || {
        let first = rest.first()?;
        let is_step = Timestep::of(&plan.programs[first.program]).is_some();
        let (stage, after) = rest.split_at(if is_step { crew::len(plan, rest) } else { 1 });
        rest = after;
        Some(if is_step { Stage::Steps(stage) } else { Stage::Single(first) })
    })
}

impl Stage<'_> {
    /// The programs that are run, each once.
    fn programs(&self) -> Vec<usize> {
        let steps = match self {
            Self::Steps(steps) => steps,
            Self::Single(dispatch) => std::slice::from_ref(*dispatch),
        };
        steps.iter().map(|step| step.program).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// How many threads it is worth.
    fn threads(&self, plan: &Plan) -> usize {
        match self {
            Self::Steps(steps) => crew::worth(plan, steps),
            Self::Single(dispatch) => {
                let (program, params) = (&plan.programs[dispatch.program], &plan.params[dispatch.params]);
                let sides = dispatch.grid[2] as usize;
                threads::worth(match program {
                    Program::Project(_) => project::ns(program, params, sides),
                    // One thread's, whatever it takes.
                    Program::Scan(_)
                    | Program::Persistent(_)
                    | Program::Clear
                    | Program::Training(Training::ScanBack(_)) => 0,
                    Program::Diagonal(_) => 2 * step::ns(program, params, sides),
                    Program::Sample => sample::ns(params),
                    Program::Training(training) => training::ns(*training, params, sides),
                    Program::Gather(_)
                    | Program::OneHot
                    | Program::Pick
                    | Program::Blank
                    | Program::Merge(_)
                    | Program::Join(_)
                    | Program::Softmax { .. }
                    | Program::Activate(_) => rows::ns(params, sides),
                    Program::Step(_) | Program::StepReset(_) | Program::StepNew(..) | Program::StepProject(_) => {
                        unreachable!("a recurrent kernel is a stage of steps")
                    }
                })
            }
        }
    }
}

/// Lets `caller` lay out the feeds that `pick` takes, where the plan wants them.
fn give(plan: &Plan, caller: &mut dyn Caller, buffers: &mut Buffers, pick: impl Fn(Feed) -> bool) -> Result<()> {
    for write in plan.writes.iter().filter(|write| pick(write.feed)) {
        let words: &mut [u32] = match &mut buffers.slots[write.slot] {
            Buffer::Floats(data) => bytemuck::cast_slice_mut(data),
            Buffer::Indices(data) => data,
            Buffer::Weights(_) => unreachable!("a host writes no weights"),
        };
        caller.give(*write, &mut words[elems(write.offset)..][..elems(write.bytes)])?;
    }
    Ok(())
}
