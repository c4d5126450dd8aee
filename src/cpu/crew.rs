//! Runs of recurrent steps, shared by a crew of threads that stay together from the first step to the last.
//!
//! A step is often shorter than waking a thread for it, so a crew forms once a run. Every member computes the same part
//! of each step, from states of its own, and leaves the results where the others fetch what they need of them. Members
//! with a direction or rows of their own need nothing of each other; those that split a state's units wait, spinning, for
//! each other's results. The leader is the thread that the run is called on; it alone writes the slots, and it begins
//! alone if nobody comes. Knows no cell.

use std::hint;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use pulp::Arch;

use super::buffers::{Buffer, Buffers, Floats, View, Weights};
use super::step::{self, Job, Part, Span, States, Timestep, Whose};
use super::threads;
use super::tune::{ARRIVAL, EXCHANGE_NS, GATHERING, MEMBER_ROWS, NEAR_BYTES, NEAR_ROWS, SPINS};
use crate::kernel::LANES;
use crate::plan::{Dispatch, Plan, Window};
use crate::platform::{self, Instant};

/// Results that a member keeps for others: it may be that many steps ahead of the leader, less one.
const AHEAD: usize = 2;
/// The last steps of a run, after which nothing is left in the memory of what was written before them.
const LAST: usize = 4;

/// What a thread of a crew keeps, from one run and call to the next.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Member {
    /// Results of the latest steps, as [`Job::compute`] gives them.
    given: [RwLock<Floats>; AHEAD],
    /// Its own copy of the states: the current hidden state, and the memory. The leader has the slots.
    states: Mutex<[Floats; 2]>,
    /// How many steps of the run it has computed.
    done: AtomicUsize,
    /// How many of them the leader has put into the slots.
    collected: AtomicUsize,
}

/// What the threads keep that share the runs of a call.
#[derive(Debug, Default)]
pub(super) struct Team(Vec<Member>);

impl Team {
    /// Its first `wanted` members, before a run.
    fn ready(&mut self, wanted: usize) -> &[Member] {
        if self.0.len() < wanted {
            self.0.resize_with(wanted, Member::default);
        }
        for member in &mut self.0 {
            (*member.done.get_mut(), *member.collected.get_mut()) = (0, 0);
        }
        &self.0[..wanted]
    }
}

/// Consecutive dispatches of recurrent kernels of which each goes on from the states that the last one left.
pub(super) struct Run<'a> {
    arch: Arch,
    plan: &'a Plan,
    steps: &'a [Dispatch],
    weights: &'a [Weights],
}

impl Run<'_> {
    /// Whether what a step leaves in the memory is soon written over: two rows take turns, or there is one. Where a way back
    /// wants cell states, each has a row.
    fn takes_turns(&self) -> bool {
        self.steps.last().is_none_or(|last| {
            let program = &self.plan.programs[last.program];
            program.training().is_some() || self.plan.params[last.params].memory_out < 2
        })
    }
}

/// How many dispatches from the first of `steps` on are a run.
pub(super) fn len(plan: &Plan, steps: &[Dispatch]) -> usize {
    let first = &steps[0];
    let (mut newest, mut kept) = (None, None);
    let goes_on = |dispatch: &&Dispatch| {
        let (program, params) = (&plan.programs[dispatch.program], &plan.params[dispatch.params]);
        let Some(timestep) = Timestep::of(program) else { return false };
        let [source, target] = step::rows(timestep, params);
        let sides = dispatch.grid[2] as usize;
        // A member keeps the memory of its own part of these; projections have no memory.
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

/// What a dispatch binds of the states, and of what its steps leave.
fn windows_of(plan: &Plan, dispatch: &Dispatch) -> [Option<Window>; 3] {
    step::written(&plan.programs[dispatch.program], &dispatch.windows)
}

fn same_place(plan: &Plan, a: &Dispatch, b: &Dispatch) -> bool {
    let [a, b] = [a, b].map(|dispatch| &plan.params[dispatch.params]);
    (a.batch, a.directions, a.direction) == (b.batch, b.directions, b.direction)
}

/// How many threads a run of `steps` is worth.
pub(super) fn worth(plan: &Plan, steps: &[Dispatch]) -> usize {
    let ns = ns(plan, &steps[0]);
    Cut::of(plan, &steps[0], threads::worth(ns * steps.len()), ns).members()
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

    /// For at most `threads` threads, of a step that takes one `ns`.
    fn of(plan: &Plan, dispatch: &Dispatch, threads: usize, ns: usize) -> Self {
        let params = &plan.params[dispatch.params];
        let sides = if threads >= dispatch.grid[2] as usize { dispatch.grid[2] as usize } else { 1 };
        let (threads, ns, batch) = (threads / sides, ns / sides, params.batch as usize);
        let by_rows = |threads: usize| threads.min(batch / MEMBER_ROWS).max(1);
        let by_panels = |threads: usize, ns: usize| threads.min(params.panels as usize).min(ns / EXCHANGE_NS).max(1);
        let rows = by_rows(threads);
        let gates = plan.programs[dispatch.program].product_gates() as usize;
        let weights = 4 * params.depth as usize * gates * LANES * params.panels as usize;
        if weights > NEAR_BYTES && batch / rows < NEAR_ROWS {
            // Each of few rows would walk over all weights: half of them with all rows is less.
            let panels = by_panels(threads, ns);
            return Self { sides, rows: by_rows(threads / panels), panels };
        }
        Self { sides, rows, panels: by_panels(threads / rows, ns / rows) }
    }

    fn members(self) -> usize {
        self.sides * self.rows * self.panels
    }

    /// The part of `member`.
    fn part(self, job: &Job<'_>, member: usize) -> Part {
        let Part { sides, rows, panels } = job.whole();
        let by = member / self.panels;
        Part {
            sides: nth(sides, self.sides, by / self.rows),
            rows: nth(rows, self.rows, by % self.rows),
            panels: nth(panels, self.panels, member % self.panels),
        }
    }

    /// The members whose units make a state together with those of `member`, itself among them.
    fn mates(self, member: usize) -> Range<usize> {
        let first = member - member % self.panels;
        first..first + self.panels
    }
}

/// Part `n` of `parts` of a range.
fn nth(range: Range<usize>, parts: usize, n: usize) -> Range<usize> {
    let len = range.len();
    range.start + n * len / parts..range.start + (n + 1) * len / parts
}

/// What the members of a crew know of each other.
#[derive(Default)]
pub(super) struct Roll {
    arrived: AtomicUsize,
    /// The first step that is shared, and how; [`Cut::NONE`] where none is.
    start: OnceLock<(usize, Cut)>,
    /// A member has panicked, and others must not wait for it.
    lost: AtomicBool,
}

impl Roll {
    /// Spins until `ready`, which another member sees to.
    pub(super) fn wait(&self, ready: impl Fn() -> bool) {
        let mut turns = 0;
        while !ready() {
            turns += 1;
            if turns < SPINS {
                hint::spin_loop();
            } else {
                assert!(!self.lost.load(Ordering::Relaxed), "a thread of the crew panicked");
                platform::yield_now();
            }
        }
    }
}

/// Tells the crew of a panic in the thread that holds it, and sends away who waits for a start.
pub(super) struct Alarm<'a>(pub(super) &'a Roll);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if platform::panicking() {
            self.0.lost.store(true, Ordering::Relaxed);
            let _ = self.0.start.set((0, Cut::NONE));
        }
    }
}

/// The dispatches of a run, one after the other: what recurs is looked up once.
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

/// The thread that a run is called on, with the slots of the states.
struct Leader<'a> {
    run: &'a Run<'a>,
    jobs: Jobs<'a>,
    members: &'a [Member],
    roll: &'a Roll,
    states: States<'a>,
}

impl<'a> Run<'a> {
    /// The run that `steps` are.
    pub(super) fn new(arch: Arch, plan: &'a Plan, steps: &'a [Dispatch], weights: &'a [Weights]) -> Self {
        Self { arch, plan, steps, weights }
    }

    /// Computes the run, with `team` for as many threads as it is worth.
    pub(super) fn run(&self, buffers: &mut Buffers, team: &mut Team) {
        let windows = windows_of(self.plan, &self.steps[0]);
        let mut floats = windows.map(|window| window.map_or_else(Floats::default, |window| buffers.take(window.slot)));
        let wanted = worth(self.plan, self.steps);
        let states = States::bound(&mut floats, windows);
        let (members, slots, roll) = (team.ready(wanted), &buffers.slots[..], &Roll::default());
        let leader = Leader { run: self, jobs: Jobs::new(self, slots), members, roll, states };
        threads::beside(wanted - 1, || leader.lead(), &|| self.help(slots, members, roll));
        for (window, floats) in windows.into_iter().zip(floats) {
            if let Some(window) = window {
                buffers.slots[window.slot] = Buffer::Floats(floats);
            }
        }
    }

    /// What every other thread does.
    fn help(&self, slots: &[Buffer], members: &[Member], roll: &Roll) {
        let _alarm = Alarm(roll);
        let me = 1 + roll.arrived.fetch_add(1, Ordering::AcqRel);
        roll.wait(|| roll.start.get().is_some());
        let (start, cut) = *roll.start.get().expect("waited for");
        if me >= cut.members() {
            return;
        }
        let mut own = lock(&members[me].states);
        let [hidden, memory] = &mut *own;
        let mut states = States { hidden, memory, left: &mut [], span: Span::Current };
        let mut jobs = Jobs::new(self, slots);
        for index in start..self.steps.len() {
            let job = jobs.get(index);
            roll.wait(|| members[me].collected.load(Ordering::Acquire) + AHEAD > index);
            members[me].compute(self.arch, index, &job, &mut states, &cut.part(&job, me));
            members[me].done.store(index + 1, Ordering::Release);
            for mate in cut.mates(me).filter(|&mate| mate != me) {
                members[mate].fetch(roll, index, &job, &mut states, (&cut.part(&job, mate), Whose::Others));
            }
        }
    }
}

impl Leader<'_> {
    fn lead(mut self) {
        let _alarm = Alarm(self.roll);
        let start = self.begin_alone();
        let here = self.members.len().min(1 + self.roll.arrived.load(Ordering::Acquire));
        let len = self.run.steps.len();
        let mut cut = Cut::NONE;
        if start < len && here > 1 {
            let first = &self.run.steps[start];
            cut = Cut::of(self.run.plan, first, here, ns(self.run.plan, first));
            self.hand_out(start, cut);
        }
        self.roll.start.set((start, cut)).expect("one leader, and no panic");
        for index in start..len {
            let job = self.jobs.get(index);
            self.members[0].compute(self.run.arch, index, &job, &mut self.states, &cut.part(&job, 0));
            self.members[0].done.store(index + 1, Ordering::Release);
            for member in 1..cut.members() {
                let done = self.members[member].done.load(Ordering::Acquire);
                self.collect(cut, member, if cut.mates(0).contains(&member) { index + 1 } else { done });
            }
        }
        // Step by step: a member waits for its mates, and they for the leader to collect what they have.
        for index in start..len {
            for member in 1..cut.members() {
                self.collect(cut, member, index + 1);
            }
        }
    }

    /// Computes steps until there is a crew, or none left: says how many.
    fn begin_alone(&mut self) -> usize {
        let (wanted, len) = (self.members.len(), self.run.steps.len());
        // One thread waits for nobody, and need not look at a clock.
        let begin = (wanted > 1).then(Instant::now);
        for index in 0..len {
            let missing = || 1 + self.roll.arrived.load(Ordering::Acquire) < wanted;
            let is_late = |patience| begin.is_some_and(|begin: Instant| begin.elapsed() > patience);
            if missing() {
                // Half a step is no loss: whoever comes takes half of it.
                let wait = Duration::from_nanos(ns(self.run.plan, &self.run.steps[index]) as u64 / 2);
                let since = Instant::now();
                while missing() && !is_late(ARRIVAL) && since.elapsed() < wait {
                    hint::spin_loop();
                }
            }
            let anybody = self.roll.arrived.load(Ordering::Acquire) > 0;
            if wanted > 1 && (!missing() || anybody && is_late(GATHERING)) {
                return index;
            }
            let job = self.jobs.get(index);
            self.members[0].compute(self.run.arch, 0, &job, &mut self.states, &job.whole());
        }
        len
    }

    /// Gives the other members the states from which step `start` goes on.
    fn hand_out(&mut self, start: usize, cut: Cut) {
        let job = self.jobs.get(start);
        for (index, member) in self.members.iter().enumerate().take(cut.members()).skip(1) {
            let mut own = lock(&member.states);
            let [hidden, memory] = &mut *own;
            job.copy_newest(&self.states, &cut.part(&job, index), hidden, memory);
            member.done.store(start, Ordering::Relaxed);
            member.collected.store(start, Ordering::Relaxed);
        }
    }

    /// Puts the results of `member` into the slots, until `until` of its steps are there.
    fn collect(&mut self, cut: Cut, member: usize, until: usize) {
        let other = &self.members[member];
        for index in other.collected.load(Ordering::Relaxed)..until {
            let job = self.jobs.get(index);
            let overwritten = index + LAST < self.run.steps.len() && self.run.takes_turns();
            let whose = if overwritten { Whose::Others } else { Whose::All };
            other.fetch(self.roll, index, &job, &mut self.states, (&cut.part(&job, member), whose));
            other.collected.store(index + 1, Ordering::Release);
        }
    }
}

impl Member {
    /// Computes its part of step `index` for others to fetch, and for its own states.
    fn compute(&self, arch: Arch, index: usize, job: &Job<'_>, states: &mut States<'_>, part: &Part) {
        let mut given = self.given[index % AHEAD].write().unwrap_or_else(PoisonError::into_inner);
        let given = given.reserve(job.given(part));
        job.compute(arch, states, part, given);
        job.commit(states, part, given, Whose::All);
    }

    /// Waits for its part of step `index` and copies it into another's states.
    fn fetch(&self, roll: &Roll, index: usize, job: &Job<'_>, states: &mut States<'_>, (part, whose): (&Part, Whose)) {
        roll.wait(|| self.done.load(Ordering::Acquire) > index);
        let given = self.given[index % AHEAD].read().unwrap_or_else(PoisonError::into_inner);
        job.commit(states, part, &given[..job.given(part)], whose);
    }
}

fn lock(states: &Mutex<[Floats; 2]>) -> MutexGuard<'_, [Floats; 2]> {
    states.lock().unwrap_or_else(PoisonError::into_inner)
}
