//! Consecutive recurrent steps, shared by a team of threads that stay together from the first step to the last.
//!
//! A step is often shorter than the time to wake a thread, so a team forms only once for these steps.
//! Each worker always computes the same part of a step, from its own states, and leaves the results for others to
//! fetch. Workers with their own direction or rows need nothing from each other. Those that split a state's units spin
//! until the others' results are there. The leader is the calling thread. It alone writes the slots, and it begins
//! alone if no worker comes. Knows no cell.

use std::hint;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use pulp::Arch;

use super::buffers::{Buffer, Buffers, Floats, View, Weights};
use super::step::{self, Job, Owner, Part, Span, States, Timestep};
use super::threads;
use super::tune::{ARRIVAL, EXCHANGE_NS, GATHERING, NEAR_BYTES, NEAR_ROWS, SPINS, WORKER_ROWS};
use crate::kernel::LANES;
use crate::plan::{Dispatch, Plan, Window};
use crate::platform::{self, Instant};

/// How many results a worker keeps for others: it may be one step fewer ahead of the leader.
const AHEAD: usize = 2;
/// The last steps of a run, which overwrite everything in the slots that earlier steps wrote.
const LAST: usize = 4;

/// What a thread of a team keeps from run to run and from call to call.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Worker {
    /// Results of the latest steps, in the form of [`Job::compute`].
    given: [RwLock<Floats>; AHEAD],
    /// Its own copy of the states: the current hidden state, and what is beside it. The leader has the slots instead.
    states: Mutex<[Floats; 2]>,
    /// How many steps of the run it has computed.
    done: AtomicUsize,
    /// How many of these steps the leader has copied into the slots.
    collected: AtomicUsize,
}

/// What the threads of a call's runs keep.
#[derive(Debug, Default)]
pub(super) struct TeamMemory(Vec<Worker>);

impl TeamMemory {
    /// Returns its first `wanted` workers, reset for a run.
    fn ready(&mut self, wanted: usize) -> &[Worker] {
        if self.0.len() < wanted {
            self.0.resize_with(wanted, Worker::default);
        }
        for worker in &mut self.0 {
            (*worker.done.get_mut(), *worker.collected.get_mut()) = (0, 0);
        }
        &self.0[..wanted]
    }
}

/// Consecutive dispatches of recurrent kernels, each of which starts from the states that the one before left.
pub(super) struct Run<'a> {
    arch: Arch,
    plan: &'a Plan,
    steps: &'a [Dispatch],
    weights: &'a [Weights],
}

impl Run<'_> {
    /// Whether later steps soon overwrite what a step leaves beside the hidden state: two rows
    /// alternate, or there is one. If a backward pass needs cell states, each step has its own row.
    fn takes_turns(&self) -> bool {
        self.steps.last().is_none_or(|last| {
            let program = &self.plan.programs[last.program];
            program.training().is_some() || self.plan.params[last.params].cell_out < 2
        })
    }
}

/// Returns how many dispatches, from the first of `steps` on, are a run.
pub(super) fn len(plan: &Plan, steps: &[Dispatch]) -> usize {
    let first = &steps[0];
    let (mut newest, mut kept) = (None, None);
    let goes_on = |dispatch: &&Dispatch| {
        let (program, params) = (&plan.programs[dispatch.program], &plan.params[dispatch.params]);
        let Some(timestep) = Timestep::of(program) else { return false };
        let [source, target] = step::rows(timestep, params);
        let sides = dispatch.grid[2] as usize;
        // A worker keeps the cell states of its own panels. Projections have none.
        let panels = (params.panel, params.panels);
        let same_panels = matches!(timestep, Timestep::Project) || *kept.get_or_insert(panels) == panels;
        let same_states = (dispatch.program == first.program && dispatch.windows == first.windows)
            || windows_of(plan, dispatch) == windows_of(plan, first);
        let goes_on = newest.is_none_or(|newest: [u32; 2]| newest[..sides] == source[..sides])
            && dispatch.grid[2] == first.grid[2]
            && same_states
            && same_panels
            && same_place(plan, dispatch, first);
        newest = Some(target);
        goes_on
    };
    steps.iter().take_while(goes_on).count()
}

/// Returns the windows of a dispatch on the states, and on what its steps leave.
fn windows_of(plan: &Plan, dispatch: &Dispatch) -> [Option<Window>; 3] {
    step::written(&plan.programs[dispatch.program], &dispatch.windows)
}

fn same_place(plan: &Plan, a: &Dispatch, b: &Dispatch) -> bool {
    let [a, b] = [a, b].map(|dispatch| &plan.params[dispatch.params]);
    (a.batch, a.directions, a.direction) == (b.batch, b.directions, b.direction)
}

/// Returns how many threads a run of `steps` is worth.
pub(super) fn worth(plan: &Plan, steps: &[Dispatch]) -> usize {
    let ns = ns(plan, &steps[0]);
    Cut::of(plan, &steps[0], threads::worth(ns * steps.len()), ns).workers()
}

fn ns(plan: &Plan, dispatch: &Dispatch) -> usize {
    step::ns(&plan.programs[dispatch.program], &plan.params[dispatch.params], dispatch.grid[2] as usize)
}

/// How many parts a step is cut into, by direction, by row and by panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    sides: usize,
    rows: usize,
    panels: usize,
}

impl Cut {
    const NONE: Self = Self { sides: 1, rows: 1, panels: 1 };

    /// Cuts a step that takes one thread `ns`, for at most `threads` threads.
    fn of(plan: &Plan, dispatch: &Dispatch, threads: usize, ns: usize) -> Self {
        let params = &plan.params[dispatch.params];
        let sides = if threads >= dispatch.grid[2] as usize { dispatch.grid[2] as usize } else { 1 };
        let (threads, ns, batch) = (threads / sides, ns / sides, params.batch as usize);
        let by_rows = |threads: usize| threads.min(batch / WORKER_ROWS).max(1);
        let by_panels = |threads: usize, ns: usize| threads.min(params.panels as usize).min(ns / EXCHANGE_NS).max(1);
        let rows = by_rows(threads);
        let gates = plan.programs[dispatch.program].product_gates() as usize;
        let weights = 4 * params.depth as usize * gates * LANES * params.panels as usize;
        if weights > NEAR_BYTES && batch / rows < NEAR_ROWS {
            // With few rows each, all threads would walk over all weights. Half of the weights with all rows is less.
            let panels = by_panels(threads, ns);
            return Self { sides, rows: by_rows(threads / panels), panels };
        }
        Self { sides, rows, panels: by_panels(threads / rows, ns / rows) }
    }

    fn workers(self) -> usize {
        self.sides * self.rows * self.panels
    }

    /// Returns the part of `worker`.
    fn part(self, job: &Job<'_>, worker: usize) -> Part {
        let Part { sides, rows, panels } = job.whole();
        let by = worker / self.panels;
        Part {
            sides: nth(sides, self.sides, by / self.rows),
            rows: nth(rows, self.rows, by % self.rows),
            panels: nth(panels, self.panels, worker % self.panels),
        }
    }

    /// Returns the workers whose units together make a state, with `worker` itself.
    fn mates(self, worker: usize) -> Range<usize> {
        let first = worker - worker % self.panels;
        first..first + self.panels
    }
}

/// Returns part `n` of `parts` of a range.
fn nth(range: Range<usize>, parts: usize, n: usize) -> Range<usize> {
    let len = range.len();
    range.start + n * len / parts..range.start + (n + 1) * len / parts
}

/// The shared state of a team's threads.
#[derive(Default)]
pub(super) struct Barrier {
    arrived: AtomicUsize,
    /// The first step that is shared, and its cut, or [`Cut::NONE`] if no step is.
    start: OnceLock<(usize, Cut)>,
    /// A thread has panicked, so others must not wait for it.
    lost: AtomicBool,
}

impl Barrier {
    /// Spins until `ready`, which another thread brings about.
    pub(super) fn wait(&self, ready: impl Fn() -> bool) {
        let mut turns = 0;
        while !ready() {
            turns += 1;
            if turns < SPINS {
                hint::spin_loop();
            } else {
                assert!(!self.lost.load(Ordering::Relaxed), "a thread of the team panicked");
                platform::yield_now();
            }
        }
    }
}

/// Reports a panic of its thread to the team, and releases workers that wait for the start.
pub(super) struct PanicGuard<'a>(pub(super) &'a Barrier);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if platform::panicking() {
            self.0.lost.store(true, Ordering::Relaxed);
            let _ = self.0.start.set((0, Cut::NONE));
        }
    }
}

/// The dispatches of a run, one after the other, with common lookups done once.
struct Jobs<'a> {
    run: &'a Run<'a>,
    slots: &'a [Buffer],
    last: Option<(&'a Dispatch, Job<'a>)>,
}

impl<'a> Jobs<'a> {
    fn new(run: &'a Run<'a>, slots: &'a [Buffer]) -> Self {
        Self { run, slots, last: None }
    }

    fn get(&mut self, index: usize) -> Job<'a> {
        let Run { plan, steps, weights, .. } = *self.run;
        let (dispatch, params) = (&steps[index], &plan.params[steps[index].params]);
        let job = match self.last {
            Some((last, job)) if last.program == dispatch.program && last.windows == dispatch.windows => {
                job.with(params)
            }
            _ => {
                let program = &plan.programs[dispatch.program];
                let view = View { program, windows: &dispatch.windows, weights, slots: self.slots };
                Job::new(view, params, dispatch.grid[2] as usize)
            }
        };
        self.last = Some((dispatch, job));
        job
    }
}

/// The calling thread, with the slots of the states.
struct Leader<'a> {
    run: &'a Run<'a>,
    jobs: Jobs<'a>,
    workers: &'a [Worker],
    barrier: &'a Barrier,
    states: States<'a>,
}

impl<'a> Run<'a> {
    /// Creates the run of `steps`.
    pub(super) fn new(arch: Arch, plan: &'a Plan, steps: &'a [Dispatch], weights: &'a [Weights]) -> Self {
        Self { arch, plan, steps, weights }
    }

    /// Computes the run, with `team` for as many threads as it is worth.
    pub(super) fn run(&self, buffers: &mut Buffers, team: &mut TeamMemory) {
        let windows = windows_of(self.plan, &self.steps[0]);
        let mut floats = windows.map(|window| window.map_or_else(Floats::default, |window| buffers.take(window.slot)));
        let wanted = worth(self.plan, self.steps);
        let states = States::bound(&mut floats, windows);
        let (workers, slots, barrier) = (team.ready(wanted), &buffers.slots[..], &Barrier::default());
        let leader = Leader { run: self, jobs: Jobs::new(self, slots), workers, barrier, states };
        threads::beside(wanted - 1, || leader.lead(), &|| self.help(slots, workers, barrier));
        for (window, floats) in windows.into_iter().zip(floats) {
            if let Some(window) = window {
                buffers.slots[window.slot] = Buffer::Floats(floats);
            }
        }
    }

    /// Does the work of a worker.
    fn help(&self, slots: &[Buffer], workers: &[Worker], barrier: &Barrier) {
        let _guard = PanicGuard(barrier);
        let me = 1 + barrier.arrived.fetch_add(1, Ordering::AcqRel);
        barrier.wait(|| barrier.start.get().is_some());
        let (start, cut) = *barrier.start.get().expect("waited for");
        if me >= cut.workers() {
            return;
        }
        let mut own = lock(&workers[me].states);
        let [hidden, beside] = &mut *own;
        let mut states = States { hidden, beside, left: &mut [], span: Span::Current };
        let mut jobs = Jobs::new(self, slots);
        for index in start..self.steps.len() {
            let job = jobs.get(index);
            barrier.wait(|| workers[me].collected.load(Ordering::Acquire) + AHEAD > index);
            workers[me].compute(self.arch, index, &job, &mut states, &cut.part(&job, me));
            workers[me].done.store(index + 1, Ordering::Release);
            for mate in cut.mates(me).filter(|&mate| mate != me) {
                workers[mate].fetch(barrier, index, &job, &mut states, (&cut.part(&job, mate), Owner::Others));
            }
        }
    }
}

impl Leader<'_> {
    fn lead(mut self) {
        let _guard = PanicGuard(self.barrier);
        let start = self.begin_alone();
        let here = self.workers.len().min(1 + self.barrier.arrived.load(Ordering::Acquire));
        let len = self.run.steps.len();
        let mut cut = Cut::NONE;
        if start < len && here > 1 {
            let first = &self.run.steps[start];
            cut = Cut::of(self.run.plan, first, here, ns(self.run.plan, first));
            self.hand_out(start, cut);
        }
        self.barrier.start.set((start, cut)).expect("one leader, and no panic");
        for index in start..len {
            let job = self.jobs.get(index);
            self.workers[0].compute(self.run.arch, index, &job, &mut self.states, &cut.part(&job, 0));
            self.workers[0].done.store(index + 1, Ordering::Release);
            for worker in 1..cut.workers() {
                let done = self.workers[worker].done.load(Ordering::Acquire);
                self.collect(cut, worker, if cut.mates(0).contains(&worker) { index + 1 } else { done });
            }
        }
        // Step by step: a worker waits for its mates, and they wait until the leader has collected their results.
        for index in start..len {
            for worker in 1..cut.workers() {
                self.collect(cut, worker, index + 1);
            }
        }
    }

    /// Computes steps until there is a team or no step is left, and returns their number.
    fn begin_alone(&mut self) -> usize {
        let (wanted, len) = (self.workers.len(), self.run.steps.len());
        // A single thread waits for no other, and needs no clock.
        let begin = (wanted > 1).then(Instant::now);
        for index in 0..len {
            let missing = || 1 + self.barrier.arrived.load(Ordering::Acquire) < wanted;
            let is_late = |patience| begin.is_some_and(|begin: Instant| begin.elapsed() > patience);
            if missing() {
                // A wait of half a step is no loss: a worker that comes takes half of the step.
                let wait = Duration::from_nanos(ns(self.run.plan, &self.run.steps[index]) as u64 / 2);
                let since = Instant::now();
                while missing() && !is_late(ARRIVAL) && since.elapsed() < wait {
                    hint::spin_loop();
                }
            }
            let anybody = self.barrier.arrived.load(Ordering::Acquire) > 0;
            if wanted > 1 && (!missing() || anybody && is_late(GATHERING)) {
                return index;
            }
            let job = self.jobs.get(index);
            self.workers[0].compute(self.run.arch, 0, &job, &mut self.states, &job.whole());
        }
        len
    }

    /// Copies to the other workers the states from which step `start` goes on.
    fn hand_out(&mut self, start: usize, cut: Cut) {
        let job = self.jobs.get(start);
        for (index, worker) in self.workers.iter().enumerate().take(cut.workers()).skip(1) {
            let mut own = lock(&worker.states);
            let [hidden, beside] = &mut *own;
            job.copy_newest(&self.states, &cut.part(&job, index), hidden, beside);
            worker.done.store(start, Ordering::Relaxed);
            worker.collected.store(start, Ordering::Relaxed);
        }
    }

    /// Copies the results of `worker` into the slots, until `until` of its steps are there.
    fn collect(&mut self, cut: Cut, worker: usize, until: usize) {
        let other = &self.workers[worker];
        for index in other.collected.load(Ordering::Relaxed)..until {
            let job = self.jobs.get(index);
            let overwritten = index + LAST < self.run.steps.len() && self.run.takes_turns();
            let owner = if overwritten { Owner::Others } else { Owner::All };
            other.fetch(self.barrier, index, &job, &mut self.states, (&cut.part(&job, worker), owner));
            other.collected.store(index + 1, Ordering::Release);
        }
    }
}

impl Worker {
    /// Computes its part of step `index`, for others to fetch and for its own states.
    fn compute(&self, arch: Arch, index: usize, job: &Job<'_>, states: &mut States<'_>, part: &Part) {
        let mut given = self.given[index % AHEAD].write().unwrap_or_else(PoisonError::into_inner);
        let given = given.reserve(job.given(part));
        job.compute(arch, states, part, given);
        job.commit(states, part, given, Owner::All);
    }

    /// Waits for its part of step `index`, and copies it into another worker's states.
    fn fetch(
        &self,
        barrier: &Barrier,
        index: usize,
        job: &Job<'_>,
        states: &mut States<'_>,
        (part, owner): (&Part, Owner),
    ) {
        barrier.wait(|| self.done.load(Ordering::Acquire) > index);
        let given = self.given[index % AHEAD].read().unwrap_or_else(PoisonError::into_inner);
        job.commit(states, part, &given[..job.given(part)], owner);
    }
}

fn lock(states: &Mutex<[Floats; 2]>) -> MutexGuard<'_, [Floats; 2]> {
    states.lock().unwrap_or_else(PoisonError::into_inner)
}
