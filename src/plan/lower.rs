//! Model + Layout + Shape + Limits + Tuning → Plan: every decision about a call.
//!
//! A model is flattened into operations. Consecutive operations that go forward in time form
//! a group. A group runs chunk by chunk, so that scratch memory does not grow with T. A layer that goes from the last
//! step to the first, or both ways, needs the whole sequence before and after it. So it is a group of its own. Knows no
//! bytes and no device beyond its limits.

mod across;
mod attention;
mod back;
mod convolve;
mod copies;
mod dispatch;
mod draw;
mod emit;
mod flatten;
mod frames;
mod groups;
mod join;
mod normalize;
mod ops;
mod recurrent;
mod scan;
mod slots;
mod stage;
mod texture;
mod update;
mod view;
mod walk;
mod wavefront;
mod window_pool;
mod windows;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use super::tune::Tuning;
use super::{
    Dispatch, Feed, Fetch, Goal, Gradients, Limits, Plan, Read, Shape, SlotId, SlotKind, Strategy, Window, Write, check,
};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Mask, Params, Program, Role};
use crate::layout::{Layout, depth};
use crate::model::Model;
use flatten::Dropout;
use groups::{Use, chunk_length, groups, users};
use ops::{Ops, Sequence, Source};
use stage::Stage;
use texture::Copied;
pub use update::{lower_store, lower_update};
use view::Inside;

/// Timesteps of a chunk are a multiple of this. So every chunk's window starts at a multiple of
/// [`WINDOW_ALIGN`](super::WINDOW_ALIGN): a row of a sequence has at least 16 elements of 4 bytes.
const CHUNK_ALIGN: usize = 4;

/// The most dispatches of a plan: with more, their description would take a gigabyte of the host's memory.
const MOST_DISPATCHES: usize = 1 << 22;

/// Decides how a call of `shape` runs.
///
/// # Errors
///
/// Returns an error of kind `Limits` if only a smaller batch could fit `limits`.
/// This is found before anything as large as the call is made, so that any size may
/// be asked for. Returns an error of kind `Internal` if the plan contradicts itself.
pub fn lower(model: &Model, layout: &Layout, shape: Shape, limits: &Limits, tuning: &Tuning) -> Result<Plan> {
    let all = flatten::flatten(model, layout, shape, Dropout::Off)?;
    group_runs(model, layout, (shape, Goal::Outputs), limits, tuning, all)
}

/// Decides how streams go on by the frames of `shape`, from their device states, whatever these began with.
///
/// # Errors
///
/// Returns the errors of [`lower`].
pub fn lower_frames(model: &Model, layout: &Layout, shape: Shape, limits: &Limits, tuning: &Tuning) -> Result<Plan> {
    let all = frames::going_on(flatten::flatten(model, layout, shape, Dropout::Off)?);
    group_runs(model, layout, (shape, Goal::Frames), limits, tuning, all)
}

/// Decides how rows of a batch get the values of the model that its stacks
/// begin with. Each state is an output, hidden before cell, stack by stack.
///
/// # Errors
///
/// Returns the errors of [`lower`].
pub fn lower_beginnings(
    model: &Model,
    layout: &Layout,
    shape: Shape,
    limits: &Limits,
    tuning: &Tuning,
) -> Result<Plan> {
    let all = frames::beginnings(flatten::flatten(model, layout, shape, Dropout::Off)?);
    plan(model, layout, (shape, Goal::Beginnings), limits, tuning, (&all, 1))
}

/// Makes the plan of `all`. Consecutive layers become one wavefront if that pays.
fn group_runs(
    model: &Model,
    layout: &Layout,
    (shape, goal): (Shape, Goal),
    limits: &Limits,
    tuning: &Tuning,
    all: Ops,
) -> Result<Plan> {
    let all = flatten::group_runs(all, |run, r| wavefront::pays(layout, run, r, shape, limits, tuning))?;
    let inputs = model.all_inputs()?;
    let features = inputs.iter().filter_map(|input| input.kind.flow()).filter(|flow| flow.tokens().is_none());
    let input = features.map(|flow| depth(flow.features())).max().unwrap_or(1);
    let chunk = chunk_length(&all.ops, input, shape, limits, tuning);
    plan(model, layout, (shape, goal), limits, tuning, (&all, chunk))
}

/// Decides how `shape.time` tokens are drawn from output `output`,
/// one after the other. Each step takes the token before.
///
/// # Errors
///
/// Returns the errors of [`lower`], or an error of kind `Model` if `model` does not give a number for each token that
/// it takes.
pub fn lower_drawing(
    model: &Model,
    layout: &Layout,
    (shape, output): (Shape, usize),
    limits: &Limits,
    tuning: &Tuning,
) -> Result<Plan> {
    let all = draw::drawing(model, flatten::flatten(model, layout, shape, Dropout::Off)?, output)?;
    // No layer can run ahead: it would need a token that is not drawn yet.
    let tuning = tuning.with_strategy(Some(Strategy::Step));
    plan(model, layout, (shape, Goal::Tokens(output)), limits, &tuning, (&all, CHUNK_ALIGN.min(shape.time)))
}

/// Decides how the losses of a call of `shape` and their gradients are computed. The plan has
/// the call as [`lower`] plans it, but keeps what the backward pass needs. The losses follow,
/// then the backward pass of each operation, the last one first. `layout` is one for training.
///
/// # Errors
///
/// Returns the errors of [`lower`], or an error of kind `Model` if `model` has no such output.
pub fn lower_gradients(
    model: &Model,
    layout: &Layout,
    shape: Shape,
    limits: &Limits,
    tuning: &Tuning,
    gradients: &Gradients,
) -> Result<Plan> {
    let dropout = if gradients.drops { Dropout::On } else { Dropout::Off };
    let mut all = flatten::flatten(model, layout, shape, dropout)?;
    let losses = gradients.losses.iter().map(|term| back::loss_source(&mut all, *term)).collect::<Result<Vec<_>>>()?;
    let inputs = model.all_inputs()?;
    let features = inputs.iter().filter_map(|input| input.kind.flow()).filter(|flow| flow.tokens().is_none());
    let input = features.map(|flow| depth(flow.features())).max().unwrap_or(1);
    let tuning = tuning.for_training();
    let chunk = chunk_length(&all.ops, input, shape, limits, &tuning);
    let mut lowering = Lowering::new(model, layout, (shape, Goal::Outputs), limits, &tuning, chunk);
    lowering.plan.title += " gradients";
    lowering.keeps = true;
    lowering.gradients(&all, gradients, &losses)?;
    check::check(&lowering.plan, limits).map_err(check::Violation::into_error)?;
    Ok(lowering.plan)
}

/// Makes the plan of `ops`, with chunks of the given number of timesteps.
fn plan(
    model: &Model,
    layout: &Layout,
    (shape, goal): (Shape, Goal),
    limits: &Limits,
    tuning: &Tuning,
    (all, chunk): (&Ops, usize),
) -> Result<Plan> {
    let mut lowering = Lowering::new(model, layout, (shape, goal), limits, tuning, chunk);
    lowering.run(all)?;
    check::check(&lowering.plan, limits).map_err(check::Violation::into_error)?;
    Ok(lowering.plan)
}

/// A stretch of time: steps `start .. start + len`, which belong to the `index`-th chunk and begin at its step `at`.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    index: usize,
    at: usize,
    start: usize,
    len: usize,
}

struct Lowering<'a> {
    model: &'a Model,
    layout: &'a Layout,
    shape: Shape,
    limits: &'a Limits,
    tuning: &'a Tuning,
    /// Timesteps of a full chunk.
    chunk: usize,
    goal: Goal,
    plan: Plan,
    programs: HashMap<Program, usize>,
    params: HashMap<Params, usize>,
    /// How many slots have asked for a name.
    names: HashMap<String, usize>,
    /// The slot of each packed buffer that is bound.
    weights: HashMap<usize, SlotId>,
    /// The slot that the host writes for each input of the model, or none for initial states.
    inputs: Vec<Option<HostInput>>,
    /// The slot that says how tokens are drawn, if they are.
    draws: Option<SlotId>,
    /// The slots of masks.
    masks: HashMap<Feed, SlotId>,
    gates: Option<SlotId>,
    /// The mailbox, if workgroups have one.
    mailbox: Option<SlotId>,
    /// The results of concatenations that other operations write into, by operation.
    concatenated: HashMap<usize, Sequence>,
    /// Whether everything that is computed is kept for a backward pass.
    keeps: bool,
    /// Bytes that steps may still keep for it.
    keep_bytes: u64,
    /// Textures, by the slot that they copy: one for each count of numbers.
    textures: HashMap<SlotId, Vec<Copied>>,
}

/// The slot of an input of the model.
#[derive(Clone, Copy, Debug)]
enum HostInput {
    /// `[T][B]` tokens.
    Tokens(SlotId),
    /// Features.
    Features(Sequence),
}

impl<'l> Lowering<'l> {
    /// Starts a plan that has nothing yet.
    fn new(
        model: &'l Model,
        layout: &'l Layout,
        (shape, goal): (Shape, Goal),
        limits: &'l Limits,
        tuning: &'l Tuning,
        chunk: usize,
    ) -> Self {
        Self {
            model,
            layout,
            shape,
            limits,
            tuning,
            chunk,
            goal,
            plan: Plan {
                title: title(model, layout, shape, goal),
                shape,
                slots: Vec::new(),
                programs: Vec::new(),
                params: Vec::new(),
                writes: Vec::new(),
                steps: Vec::new(),
                reads: Vec::new(),
            },
            programs: HashMap::new(),
            params: HashMap::new(),
            names: HashMap::new(),
            weights: HashMap::new(),
            inputs: Vec::new(),
            draws: None,
            masks: HashMap::new(),
            gates: None,
            mailbox: None,
            concatenated: HashMap::new(),
            keeps: false,
            keep_bytes: tuning.keep_bytes(),
            textures: HashMap::new(),
        }
    }
}

impl Lowering<'_> {
    fn run(&mut self, all: &Ops) -> Result<()> {
        let groups = groups(&all.ops, self.shape);
        let stages = self.stages(all, &groups)?;
        self.fits(&stages)?;
        self.forward(&stages, &groups, |_| true)?;
        for (index, &output) in all.outputs.iter().enumerate() {
            let Source::Op(op) = output else {
                return Err(Error::new(ErrorKind::Model, "the model has no layer that gives features"));
            };
            self.read_output(index, stages[op].result);
        }
        Ok(())
    }

    /// Emits the dispatches of the operations that `needed` accepts, group by group.
    fn forward(&mut self, stages: &[Stage<'_>], groups: &[Range<usize>], needed: impl Fn(usize) -> bool) -> Result<()> {
        for group in groups {
            let Some(time) = stages.get(group.start).map(|stage| stage.time(self.shape)) else { continue };
            let group = || group.clone().filter(|&op| needed(op)).map(|op| &stages[op]);
            for stage in group() {
                self.begin(stage)?;
            }
            for chunk in self.chunks(time) {
                for stage in group() {
                    self.emit(stage, chunk)?;
                    countable(self.plan.steps.len())?;
                }
            }
            for stage in group() {
                self.finals(stage)?;
            }
        }
        Ok(())
    }

    /// Makes the stages: the operations with their slots.
    fn stages<'a>(&mut self, all: &'a Ops, groups: &[Range<usize>]) -> Result<Vec<Stage<'a>>> {
        self.inputs(all)?;
        let users = users(all);
        let uses: Vec<Use> =
            users.iter().enumerate().map(|(index, users)| Use::of(index, users, &all.ops, groups)).collect();
        let insides = self.insides(all, &uses, &users);
        let mut stages: Vec<Stage<'a>> = Vec::with_capacity(all.ops.len());
        for (index, op) in all.ops.iter().enumerate() {
            if let Some(Inside { op, .. }) = insides[index] {
                self.concatenated(op, &all.ops[op], uses[op]);
            }
            let stage = self.stage(op, (uses[index], insides[index]), &stages)?;
            stages.push(stage);
        }
        Ok(stages)
    }

    /// Checks that every slot fits the device, and every dispatch the
    /// plan. Later sizes are so small that their products do not overflow.
    fn fits(&self, stages: &[Stage<'_>]) -> Result<()> {
        for slot in &self.plan.slots {
            check::slot_fits(slot, self.limits).map_err(check::Violation::into_error)?;
        }
        for buffer in 0..self.layout.buffers.len() {
            check::slot_fits(&self.weights_slot(buffer), self.limits).map_err(check::Violation::into_error)?;
        }
        // There is at least one dispatch for each step of a recurrence. A fused recurrence, and
        // anything else, has at least one for each chunk. A chunk is one step if it ends in a draw.
        let mut dispatches = 0_usize;
        for stage in stages {
            let steps = stage.op.layers() > 0 && !self.goes_fused(stage.op)?;
            let each = steps || matches!(self.goal, Goal::Tokens(_));
            let time = stage.time(self.shape);
            dispatches = dispatches.saturating_add(if each { time } else { time.div_ceil(self.chunk) });
        }
        countable(dispatches)
    }

    fn chunks(&self, time: usize) -> Vec<Chunk> {
        let len = match self.goal {
            Goal::Outputs | Goal::Frames | Goal::Beginnings => self.chunk,
            // Each step needs the token that is drawn after the step before.
            Goal::Tokens(_) => 1,
        };
        let of = |start| Chunk { index: start / self.chunk, at: start % self.chunk, start, len: len.min(time - start) };
        (0..time).step_by(len).map(of).collect()
    }

    fn read_output(&mut self, index: usize, output: Sequence) {
        let time = output.axis.time(self.shape);
        let fetch = match self.goal {
            Goal::Outputs | Goal::Frames | Goal::Beginnings if index > 0 => Fetch::Other(index),
            Goal::Outputs | Goal::Frames | Goal::Beginnings => Fetch::Output,
            Goal::Tokens(_) => Fetch::Tokens,
        };
        self.read(fetch, output.slot, output.first, time);
    }

    /// Adds a read of `rows` rows of `[B][width]` of a slot, from `first` on.
    fn read(&mut self, fetch: Fetch, slot: SlotId, first: usize, rows: usize) {
        if self.plan.slots[slot].kind == SlotKind::Scratch {
            self.plan.slots[slot].kind = SlotKind::Output;
        }
        let row = self.row_bytes(slot);
        self.plan.reads.push(Read {
            fetch,
            slot,
            offset: (first as u64).saturating_mul(row),
            bytes: (rows as u64).saturating_mul(row),
        });
    }

    /// Adds a write of `feed` into rows of a slot, from row `row` on.
    fn write(&mut self, feed: Feed, slot: SlotId, row: usize, rows: usize) {
        let bytes = self.row_bytes(slot);
        self.plan.writes.push(Write {
            feed,
            slot,
            offset: (row as u64).saturating_mul(bytes),
            bytes: (rows as u64).saturating_mul(bytes),
        });
    }

    fn program(&mut self, program: Program) -> usize {
        let Plan { programs, .. } = &mut self.plan;
        *self.programs.entry(program).or_insert_with(|| {
            programs.push(program);
            programs.len() - 1
        })
    }

    /// Adds a dispatch that binds `windows`, in any order.
    fn dispatch(
        &mut self,
        program: Program,
        params: Params,
        grid: [usize; 3],
        windows: &[(Role, Option<Window>)],
    ) -> Result<()> {
        let windows = bound(&program, windows)?;
        let program = self.program(program);
        let Plan { params: all, .. } = &mut self.plan;
        let params = *self.params.entry(params).or_insert_with(|| {
            all.push(params);
            all.len() - 1
        });
        // A grid past 32 bits is past every limit too. It saturates, so that `check` refuses it.
        let grid = grid.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        if !self.textures.is_empty() {
            self.outdate(program, &windows);
        }
        self.plan.steps.push(Dispatch { program, params, grid, windows });
        Ok(())
    }
}

/// Returns the windows for the bindings of `program`, in the declaration's order.
///
/// # Errors
///
/// Returns an error of kind `Internal` if a binding has no window, or a window no binding.
fn bound(program: &Program, given: &[(Role, Option<Window>)]) -> Result<Vec<Window>> {
    let kernel = program.kernel().name();
    let of = |role: Role| given.iter().find(|(other, _)| *other == role).and_then(|(_, window)| *window);
    let mut windows = Vec::with_capacity(given.len());
    for binding in program.bindings().skip(1) {
        windows.push(needed(of(binding.role), format_args!("a window of {kernel} as {}", binding.role.name()))?);
    }
    let count = given.iter().filter(|(_, window)| window.is_some()).count();
    if count != windows.len() {
        return Err(Error::internal(format!("{kernel}: expected {} windows, got {count}", windows.len())));
    }
    Ok(windows)
}

/// Returns a value that an operation cannot be planned without.
///
/// # Errors
///
/// Returns an error of kind `Internal` if there is none.
fn needed<T>(value: Option<T>, what: impl fmt::Display) -> Result<T> {
    value.ok_or_else(|| Error::internal(format!("a plan: expected {what}, got none")))
}

/// Checks that a plan can have `dispatches` dispatches.
fn countable(dispatches: usize) -> Result<()> {
    if dispatches <= MOST_DISPATCHES {
        return Ok(());
    }
    let text =
        format!("needs {dispatches} dispatches or more, a plan has at most {MOST_DISPATCHES}; try fewer steps a call");
    Err(Error::new(ErrorKind::Limits, text))
}

fn title(model: &Model, layout: &Layout, shape: Shape, goal: Goal) -> String {
    let layers: Vec<String> = model.layers.iter().map(|layer| layer.kind.to_string()).collect();
    let storage = layout.storage.name();
    let mask = if shape.all_steps().any(|steps| steps.mask == Mask::Live) { " masked" } else { "" };
    let mut times: Vec<String> = shape.all_steps().map(|steps| steps.time.to_string()).collect();
    times.dedup();
    let drawn = match goal {
        Goal::Outputs | Goal::Frames => "",
        Goal::Beginnings => " begun",
        Goal::Tokens(_) => " drawn",
    };
    format!("{}  T={} B={} {storage}{mask}{drawn}", layers.join(" → "), times.join(","), shape.batch)
}
