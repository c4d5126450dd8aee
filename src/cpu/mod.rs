//! The CPU executor: runs a `Plan` dispatch by dispatch on host buffers, each kernel as `kernel::catalog` says.
//!
//! The last stage of the road on a machine without a GPU, and what a GPU is compared with, slot by slot and in speed.
//! It obeys the plan: it chooses instructions and threads, never what is computed. Knows no model and no layout.

mod buffers;
mod cells;
mod crew;
mod diagonal;
mod functions;
mod math;
mod product;
mod project;
mod rows;
mod step;
#[cfg(test)]
mod tests;
mod threads;

use std::iter;
use std::sync::{Mutex, PoisonError};

use pulp::Arch;

use crate::error::{Error, ErrorKind, Result, SMALLER_CALL, zeros};
use crate::kernel::Kernel;
#[cfg(any(test, feature = "gpu"))]
use crate::pack::Packed;
use crate::pack::PackedBuffer;
use crate::plan::{Dispatch, FeedData, Plan, SlotId, Write};
use buffers::{Bound, Buffer, Buffers, Floats, elems};

/// Sets of buffers that are kept for the next call.
const KEPT: usize = 4;

/// The executor, with a model's weights.
pub(crate) struct Cpu {
    arch: Arch,
    weights: Vec<Floats>,
    /// Buffers of calls that are done, the latest last.
    kept: Mutex<Vec<Buffers>>,
}

impl Cpu {
    /// An executor with these weights. Halves are widened: the values stay rounded.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for them.
    #[cfg(any(test, feature = "gpu"))]
    pub(crate) fn new(packed: Packed) -> Result<Self> {
        let mut cpu = Self::empty();
        packed.buffers.into_iter().try_for_each(|buffer| cpu.add(buffer))?;
        Ok(cpu)
    }

    /// An executor without weights yet.
    pub(crate) fn empty() -> Self {
        Self { arch: Arch::new(), weights: Vec::new(), kept: Mutex::default() }
    }

    /// Takes the next buffer of weights. Halves are widened: the values stay rounded.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for it.
    pub(crate) fn add(&mut self, buffer: PackedBuffer) -> Result<()> {
        self.weights.push(Floats::widened(buffer)?);
        Ok(())
    }

    /// Runs a checked plan: `feeds[i]` goes to `plan.writes[i]`, and `plan.reads[i]` gives the i-th result.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the feeds are not what the plan writes; `Limits`, where there is no memory for the plan.
    pub(crate) fn run(&self, plan: &Plan, feeds: &[FeedData]) -> Result<Vec<Vec<f32>>> {
        let buffers = self.execute(plan, feeds, self.take(plan)?)?;
        let read = |read: &crate::plan::Read| match &buffers.slots[read.slot] {
            Buffer::Floats(data) => {
                let mut result = zeros("the results", &[elems(read.bytes)], SMALLER_CALL)?;
                result.copy_from_slice(&data[elems(read.offset)..][..elems(read.bytes)]);
                Ok(result)
            }
            Buffer::Weights(_) | Buffer::Indices(_) => unreachable!("a plan reads floats that it wrote"),
        };
        let results = plan.reads.iter().map(read).collect::<Result<_>>()?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(buffers);
        Ok(results)
    }

    /// Runs a checked plan and gives every float slot but the weights as it is at the end: NaN where nothing wrote.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(crate) fn trace(&self, plan: &Plan, feeds: &[FeedData]) -> Result<Vec<(SlotId, Vec<f32>)>> {
        let buffers = self.execute(plan, feeds, Buffers::poisoned(plan)?)?;
        let floats = buffers.slots.iter().enumerate().filter_map(|(slot, buffer)| match buffer {
            Buffer::Floats(data) => Some((slot, data.to_vec())),
            Buffer::Weights(_) | Buffer::Indices(_) => None,
        });
        Ok(floats.collect())
    }

    fn execute(&self, plan: &Plan, feeds: &[FeedData], mut buffers: Buffers) -> Result<Buffers> {
        if feeds.len() != plan.writes.len() {
            let (expected, got) = (plan.writes.len(), feeds.len());
            return Err(Error::new(ErrorKind::Shape, format!("feeds: expected {expected}, got {got}")));
        }
        for (write, feed) in plan.writes.iter().zip(feeds) {
            put(&mut buffers, *write, feed)?;
        }
        // Inside the pool once, and not anew for each dispatch: entering it costs more than a small step.
        if stages(plan).any(|stage| stage.threads(plan) > 1) {
            rayon::scope(|_| self.run_stages(plan, &mut buffers));
        } else {
            self.run_stages(plan, &mut buffers);
        }
        Ok(buffers)
    }

    /// Buffers for `plan`: kept ones if they fit.
    fn take(&self, plan: &Plan) -> Result<Buffers> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.iter().rposition(|buffers| buffers.fit(plan)) {
            Some(i) => Ok(kept.remove(i)),
            None => Buffers::of(plan),
        }
    }

    fn run_stages(&self, plan: &Plan, buffers: &mut Buffers) {
        for stage in stages(plan) {
            match stage {
                Stage::Steps(steps) => crew::Run::new(self.arch, plan, steps, &self.weights).run(buffers),
                Stage::Single(dispatch) => self.dispatch(&mut Bound {
                    program: &plan.programs[dispatch.program],
                    params: &plan.params[dispatch.params],
                    sides: dispatch.grid[2] as usize,
                    windows: &dispatch.windows,
                    weights: &self.weights,
                    buffers,
                }),
            }
        }
    }

    fn dispatch(&self, bound: &mut Bound<'_>) {
        match bound.program.kernel {
            Kernel::Project => project::run(self.arch, bound),
            Kernel::Diagonal => diagonal::run(self.arch, bound),
            Kernel::Gather => rows::gather(bound),
            Kernel::OneHot => rows::one_hot(bound),
            Kernel::Pick => rows::pick(bound),
            Kernel::Blank => rows::blank(bound),
            Kernel::Merge => rows::merge(bound),
            Kernel::Softmax | Kernel::Activate => rows::activate(self.arch, bound),
            Kernel::Step | Kernel::StepReset | Kernel::StepNew | Kernel::StepProject => {
                unreachable!("a recurrent kernel is a stage of steps")
            }
        }
    }
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
        let is_step = crew::is_step(plan.programs[first.program].kernel);
        let (stage, after) = rest.split_at(if is_step { crew::len(plan, rest) } else { 1 });
        rest = after;
        Some(if is_step { Stage::Steps(stage) } else { Stage::Single(first) })
    })
}

impl Stage<'_> {
    /// How many threads it is worth.
    fn threads(&self, plan: &Plan) -> usize {
        match self {
            Self::Steps(steps) => crew::worth(plan, steps),
            Self::Single(dispatch) => {
                let (program, params) = (&plan.programs[dispatch.program], &plan.params[dispatch.params]);
                let sides = dispatch.grid[2] as usize;
                threads::worth(match program.kernel {
                    Kernel::Project => project::ns(program, params, sides),
                    Kernel::Diagonal => 2 * step::ns(program, params, sides),
                    _ => rows::ns(params, sides),
                })
            }
        }
    }
}

/// Copies a feed to where the plan wants it.
fn put(buffers: &mut Buffers, write: Write, feed: &FeedData) -> Result<()> {
    let (start, len) = (elems(write.offset), elems(write.bytes));
    match (&mut buffers.slots[write.slot], feed) {
        (Buffer::Floats(slot), FeedData::F32(data)) if data.len() == len => slot[start..][..len].copy_from_slice(data),
        (Buffer::Indices(slot), FeedData::U32(data)) if data.len() == len => slot[start..][..len].copy_from_slice(data),
        (_, feed) => {
            let got = match feed {
                FeedData::F32(data) => format!("{} floats", data.len()),
                FeedData::U32(data) => format!("{} indices", data.len()),
            };
            let what = format!("feed {:?}: expected {len} elements of its slot's type, got {got}", write.feed);
            return Err(Error::new(ErrorKind::Shape, what));
        }
    }
    Ok(())
}
