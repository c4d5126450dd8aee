//! Negative controls of gradients: minimal bugs of a backward pass, planted in a plan.
//!
//! A plan with a bug runs like any other, but computes something else. Knows plans; knows no case and no executor.

use crate::kernel::{Join, JoinOp, Kernel, Mask, Outer, Params, Program, Role, Training};
use crate::plan::{Dispatch, Plan, Window};

/// A bug in a plan of gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanBug {
    /// The backward pass leaves out one step; in a scan, the last one.
    StepLeftOut,
    /// The gradient of a recurrent matrix uses the state after each step of a chunk, not the one before it.
    StateAfterStep,
    /// The gradients of matrices have only the part of the last chunk.
    ChunksForgotten,
    /// Masked steps are treated like live ones.
    MaskForgotten,
    /// A step gets no gradient from the one after it: the recurrent matrix was not transposed.
    NothingPassedOn,
    /// The second consumer of a value sets its gradient instead of adding to it.
    SetNotAdded,
    /// The gradient of a recurrent matrix reads each state four units too far.
    UnitsOffByFour,
    /// The last row of each chunk is missing from the gradients of matrices.
    RowForgotten,
    /// The last token is missing from the gradient of its table.
    TokenForgotten,
    /// Peepholes get no gradient.
    PeepholesForgotten,
}

impl PlanBug {
    /// Every bug, in a stable order.
    pub const ALL: [Self; 10] = [
        Self::StepLeftOut,
        Self::StateAfterStep,
        Self::ChunksForgotten,
        Self::MaskForgotten,
        Self::NothingPassedOn,
        Self::SetNotAdded,
        Self::UnitsOffByFour,
        Self::RowForgotten,
        Self::TokenForgotten,
        Self::PeepholesForgotten,
    ];

    /// Returns the plan with the bug, or `None` if the plan cannot have it.
    pub fn plant(self, plan: &Plan) -> Option<Plan> {
        let mut wrong = plan.clone();
        match self {
            Self::StepLeftOut => {
                let scan = |program: &Program, step: &Dispatch| {
                    program.kernel() == Kernel::ScanBack && plan.params[step.params].steps > 1
                };
                let steps = places(plan, |program, _| program.kernel() == Kernel::StepBack);
                match places(plan, scan).first() {
                    Some(&scan) => tell(&mut wrong, scan, |params| params.steps -= 1),
                    None => drop(wrong.steps.remove(*steps.get(steps.len() / 2)?)),
                }
            }
            Self::StateAfterStep => {
                let States { step, by_number, numbers, .. } = recurrent(plan)?;
                let batch = u32::try_from(plan.shape.batch).ok()?;
                tell(&mut wrong, step, |params| match by_number {
                    true => params.offset += numbers,
                    false => params.source_0 += batch,
                });
            }
            Self::ChunksForgotten => {
                let outer = |program: &mut Program| match program {
                    Program::Training(Training::Outer(outer)) if !outer.first => {
                        *outer = Outer { first: true, ..*outer };
                        true
                    }
                    _ => false,
                };
                change(&mut wrong, outer)?;
            }
            Self::MaskForgotten => {
                let step = *places(plan, |program, _| is_masked(program)).first()?;
                let live = bound(plan, &plan.steps[step]).position(|(role, _)| role == Role::Live)?;
                let masked: Vec<usize> = (0..plan.programs.len()).filter(|&n| is_masked(&plan.programs[n])).collect();
                for step in wrong.steps.iter_mut().filter(|step| masked.contains(&step.program)) {
                    step.windows.remove(live);
                }
                for program in masked {
                    if let Program::Training(Training::StepBack(back) | Training::ScanBack(back)) =
                        &mut wrong.programs[program]
                    {
                        back.mask = Mask::All;
                    }
                }
            }
            Self::NothingPassedOn => forget(&mut wrong, Kernel::Transpose)?,
            Self::SetNotAdded => {
                let added = |program: &Program, step: &Dispatch| {
                    let adds = matches!(program, Program::Join(Join { combine: JoinOp::Add, .. }));
                    adds && bound(plan, step).last().is_some_and(|(_, window)| is_begun(plan, step, window))
                };
                let step = *places(plan, added).first()?;
                let Program::Join(join) = plan.programs[plan.steps[step].program] else { return None };
                wrong.steps[step].program = plan.programs.len();
                wrong.programs.push(Program::Join(Join { combine: JoinOp::Set, ..join }));
            }
            // Kernels read units in fours.
            Self::UnitsOffByFour => {
                let States { step, by_number, .. } = recurrent(plan)?;
                tell(&mut wrong, step, |params| match by_number {
                    true => params.offset += 4,
                    false => params.source_offset += 4,
                });
            }
            Self::RowForgotten => {
                let rows = |program: &Program, step: &Dispatch| {
                    program.kernel() == Kernel::Outer && plan.params[step.params].rows > 1
                };
                tell_all(&mut wrong, places(plan, rows), |params| params.rows -= 1)?;
            }
            Self::TokenForgotten => {
                let tokens = |program: &Program, step: &Dispatch| {
                    program.kernel() == Kernel::Scatter && plan.params[step.params].count > 1
                };
                tell_all(&mut wrong, places(plan, tokens), |params| params.count -= 1)?;
            }
            Self::PeepholesForgotten => forget(&mut wrong, Kernel::PeepholeBack)?,
        }
        Some(wrong)
    }
}

/// Returns the dispatches for which `such` is true.
fn places(plan: &Plan, such: impl Fn(&Program, &Dispatch) -> bool) -> Vec<usize> {
    let is_such = |index: &usize| {
        let step = &plan.steps[*index];
        such(&plan.programs[step.program], step)
    };
    (0..plan.steps.len()).filter(is_such).collect()
}

/// Returns the window that a dispatch binds for each role.
fn bound<'a>(plan: &'a Plan, step: &'a Dispatch) -> impl Iterator<Item = (Role, Window)> + 'a {
    let bindings = plan.programs[step.program].bindings().skip(1);
    bindings.map(|binding| binding.role).zip(step.windows.iter().copied())
}

/// A dispatch that reads states.
struct States {
    step: usize,
    /// Whether it copies them number by number, and does not multiply rows itself.
    by_number: bool,
    /// The number of elements of one step's states.
    numbers: u32,
}

/// Returns the first dispatch that reads the states before all steps of a chunk, for
/// the gradient of a recurrent matrix. There must be room for one more step after
/// them. It is the product itself, or the copy to a texture that the product reads.
fn recurrent(plan: &Plan) -> Option<States> {
    plan.steps.iter().enumerate().find_map(|(index, step)| {
        let (program, params) = (&plan.programs[step.program], &plan.params[step.params]);
        let (_, window) = bound(plan, step).find(|(role, _)| *role == Role::Source)?;
        let slot = &plan.slots[window.slot];
        let numbers = u32::try_from(slot.dims.iter().skip(1).product::<usize>()).ok()?;
        let (first, count, by_number) = match program.kernel() {
            Kernel::Outer => (params.source_0, params.rows * params.source_units, false),
            Kernel::ToTexture => (params.offset, params.count, true),
            _ => return None,
        };
        let fits = 4 * (u64::from(count) + u64::from(numbers)) <= window.bytes;
        (slot.name.contains("hidden") && first == 0 && fits).then_some(States { step: index, by_number, numbers })
    })
}

/// Whether anything but zeros is written into the gradient `window` before `step`.
fn is_begun(plan: &Plan, step: &Dispatch, window: Window) -> bool {
    let rows = |step: &Dispatch| (plan.params[step.params].target_0, plan.params[step.params].rows);
    let before = plan.steps.iter().take_while(|other| !std::ptr::eq(*other, step));
    let begins = |other: &Dispatch| {
        plan.programs[other.program].kernel() != Kernel::Zero
            && bound(plan, other).last().is_some_and(|(role, last)| role == Role::Result && last == window)
            && rows(other) == rows(step)
    };
    plan.slots[window.slot].name.contains(".gradient") && before.into_iter().any(begins)
}

/// Changes the params of a dispatch.
fn tell(plan: &mut Plan, step: usize, change: impl Fn(&mut Params)) {
    let mut params = plan.params[plan.steps[step].params];
    change(&mut params);
    plan.steps[step].params = plan.params.len();
    plan.params.push(params);
}

/// Changes the params of several dispatches; returns `None` if there are none.
fn tell_all(plan: &mut Plan, steps: Vec<usize>, change: impl Fn(&mut Params)) -> Option<()> {
    let any = !steps.is_empty();
    steps.into_iter().for_each(|step| tell(plan, step, &change));
    any.then_some(())
}

fn is_masked(program: &Program) -> bool {
    let of_cells = matches!(program.kernel(), Kernel::StepBack | Kernel::ScanBack);
    of_cells && program.mask() == Mask::Live
}

/// Changes all programs that `one` changes; returns `None` if there are none.
fn change(plan: &mut Plan, one: impl FnMut(&mut Program) -> bool) -> Option<()> {
    let changed = plan.programs.iter_mut().map(one).filter(|&changed| changed).count();
    (changed > 0).then_some(())
}

/// Removes every dispatch of a kernel; returns `None` if there are none.
fn forget(plan: &mut Plan, kernel: Kernel) -> Option<()> {
    let before = plan.steps.len();
    let programs = &plan.programs;
    plan.steps.retain(|step| programs[step.program].kernel() != kernel);
    (plan.steps.len() < before).then_some(())
}
