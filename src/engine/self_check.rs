//! The known-answer self-check: whether a device computes what the host computes.
//!
//! Some drivers are silently wrong. So before a GPU serves an engine, a small model runs through its
//! executor, and every slot is compared with the CPU executor's. Both run one plan: the device is in doubt
//! here, not the plan. (The conformance table compares plans with the oracle.) `training` and `update` have
//! the calls for trainers. Knows plans and executors; knows no wgpu.

mod training;
mod update;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ndarray::{Array, Array2, Dimension, ShapeBuilder};

use crate::call::{Input, States};
use crate::cell::Cell;
use crate::cpu::Cpu;
use crate::error::Result;
use crate::feed::encode;
use crate::kernel::{Access, LANES, Mask, POISON};
use crate::layout::Layout;
use crate::model::{Gru, Lstm, Model, Rnn};
use crate::pack::{Packed, pack};
use crate::plan::tune::{Target, Tuning};
use crate::plan::{FeedData, Limits, ListedIo, Plan, Shape, SlotId, Strategy, Write, lower};
use crate::precision::Precision;
use crate::weights::Weights;

/// The largest difference between two executors, per unit of the element and of the largest element
/// of its slot. It is some tens of times what the order of sums and a driver's `exp` explain in a
/// few steps. It is a hundredth of the error of a wrong kernel.
const TOLERANCE: f32 = 1e-4;

/// The bounds of a slot's largest element, for the tolerance. A slot with only smaller elements is what is left of sums
/// that cancel. In a slot with larger ones, each element is judged by its own size.
const LARGEST: RangeInclusive<f32> = 1e-3..=1.0;

const TIME: usize = 5;
/// Two rows share each weight. More rows only make the kernels longer, and slow drivers compile those slower.
const BATCH: usize = 2;
const INPUT: usize = 5;
/// One more than two panels.
const HIDDEN: usize = 33;
/// Few enough that a scan holds the weights of a GRU.
const FEW: usize = 15;

/// A call with the right contents of every slot.
pub(super) struct KnownAnswer {
    /// Where the weights go.
    pub(super) layout: Layout,
    /// The weights.
    pub(super) packed: Packed,
    /// The plan, made as an engine on the device would make it.
    pub(super) plan: Arc<Plan>,
    /// What the host writes.
    pub(super) feeds: Vec<FeedData>,
    expected: Vec<(SlotId, Vec<f32>)>,
}

impl KnownAnswer {
    /// Makes the call that checks `strategy` on a device of this kind: an LSTM of both directions or of three layers,
    /// and a GRU of one or two layers or of few units. Rows end early, states are not zero, and sizes fill no tile.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if the device cannot run even this.
    pub(super) fn of(strategy: Strategy, target: Target, limits: &Limits) -> Result<Self> {
        let (first, second) = match strategy {
            Strategy::Step => (Lstm::new(INPUT, HIDDEN).bidirectional(), Gru::new(2 * HIDDEN, HIDDEN)),
            Strategy::Scan => (Lstm::new(INPUT, HIDDEN).bidirectional(), Gru::new(2 * HIDDEN, FEW)),
            Strategy::Persistent => (Lstm::new(INPUT, HIDDEN).bidirectional(), Gru::new(2 * HIDDEN, 2 * FEW)),
            Strategy::Wavefront => (Lstm::new(INPUT, HIDDEN).num_layers(3), Gru::new(HIDDEN, HIDDEN).num_layers(2)),
        };
        Self::of_model(&Model::new().layer(first).layer(second), strategy, target, limits)
    }

    /// Makes the call whose workgroups meet, as many as `limits` assumes to run
    /// side by side: an RNN with one panel for each.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub(super) fn of_meeting(target: Target, limits: &Limits) -> Result<Self> {
        let model = Model::new().layer(Rnn::new(INPUT, LANES * limits.co_resident_workgroups as usize));
        Self::of_model(&model, Strategy::Persistent, target, limits)
    }

    fn of_model(model: &Model, strategy: Strategy, target: Target, limits: &Limits) -> Result<Self> {
        let tuning = Tuning::of(target).with_strategy(Some(strategy));
        let layout = Layout::of(model, Precision::F32)?.with_medium(tuning.medium());
        let packed = pack(&Weights::random(model, 0)?, model, &layout)?;
        let shape = Shape::new(TIME, BATCH, Mask::Live);
        let plan = lower::lower(model, &layout, shape, limits, &tuning)?;
        let input = input(model);
        let call = input.check(model)?;
        let feed = |write: Write, words: &mut [u32]| {
            encode(&call, model, 0..BATCH, write.feed, words);
            Ok(())
        };
        Self::of_plan(layout, packed, plan, feed)
    }

    /// Makes the call of `plan`, with the feeds that `give` returns.
    fn of_plan(
        layout: Layout,
        packed: Packed,
        plan: Plan,
        mut give: impl FnMut(Write, &mut [u32]) -> Result<()>,
    ) -> Result<Self> {
        let mut feed = |write: &Write| {
            let mut words = vec![0; usize::try_from(write.bytes / 4).expect("a small call")];
            give(*write, &mut words)?;
            Ok(FeedData::U32(words))
        };
        let feeds = plan.writes.iter().map(&mut feed).collect::<Result<Vec<_>>>()?;
        let expected = Cpu::new(packed.clone())?.trace(&plan, &mut ListedIo::of(&plan, &feeds)?)?;
        Ok(Self { layout, packed, plan: Arc::new(plan), feeds, expected })
    }

    /// Describes the first wrong element, and the kernels that write its slot.
    /// It is in the wrong slot that is written first.
    pub(super) fn fault(&self, got: &[(SlotId, Vec<f32>)]) -> Option<String> {
        if got.len() != self.expected.len() {
            return Some(format!("expected {} slots, got {}", self.expected.len(), got.len()));
        }
        let writers = self.writers();
        let mut slots: Vec<_> = self.expected.iter().zip(got).collect();
        // Slots that the host writes come first.
        slots.sort_by_key(|((slot, _), _)| writers.get(slot).map(|(first, _)| *first));
        slots.into_iter().find_map(|((slot, expected), (_, got))| {
            let fault = slot_fault(&self.plan.slots[*slot].dims, expected, got)?;
            let by = writers.get(slot).map(|(_, kernels)| format!(" of {}", kernels.join(", "))).unwrap_or_default();
            Some(format!("slot {}{by}{fault}", self.plan.slots[*slot].name))
        })
    }

    /// For each slot that dispatches write: the index of the first of them, and the kernels of all.
    fn writers(&self) -> BTreeMap<SlotId, (usize, Vec<&'static str>)> {
        let mut writers = BTreeMap::new();
        for (index, step) in self.plan.steps.iter().enumerate() {
            let program = &self.plan.programs[step.program];
            for (binding, window) in program.bindings().skip(1).zip(&step.windows) {
                if binding.access == Access::ReadWrite {
                    let (_, kernels) = writers.entry(window.slot).or_insert((index, Vec::new()));
                    let name = program.kernel().name();
                    if !kernels.contains(&name) {
                        kernels.push(name);
                    }
                }
            }
        }
        writers
    }
}

/// Describes the first wrong element of a slot of `dims`.
fn slot_fault(dims: &[usize], expected: &[f32], got: &[f32]) -> Option<String> {
    if got.len() != expected.len() {
        return Some(format!(": expected {} elements, got {}", expected.len(), got.len()));
    }
    let largest = expected.iter().fold(*LARGEST.start(), |largest, x| largest.max(x.abs())).min(*LARGEST.end());
    let at = expected.iter().zip(got).position(|(&expected, &got)| !agree(expected, got, largest))?;
    Some(format!(" {:?}: expected {}, got {}", index(at, dims), expected[at], got[at]))
}

/// Whether two elements agree. What nobody wrote (the poison) agrees only with itself, and any other NaN with nothing.
fn agree(a: f32, b: f32, largest: f32) -> bool {
    (a.to_bits(), b.to_bits()) == (POISON, POISON) || (a - b).abs() <= TOLERANCE * (largest + a.abs())
}

/// The index of element `at` of a slot of `dims`.
fn index(mut at: usize, dims: &[usize]) -> Vec<usize> {
    let mut index: Vec<_> = dims
        .iter()
        .rev()
        .map(|&size| {
            let here = at % size;
            at /= size;
            here
        })
        .collect();
    index.reverse();
    index
}

/// Numbers between -1 and 1 without a pattern that a wrong index could match.
fn numbers<Sh: ShapeBuilder<Dim = D>, D: Dimension>(shape: Sh) -> Array<f32, D> {
    let mut n = 0.0_f32;
    Array::from_shape_simple_fn(shape, || {
        n += 1.0;
        (n * n * 0.37).sin()
    })
}

fn input(model: &Model) -> Input<'static> {
    let live = Array2::from_shape_fn((BATCH, TIME), |(b, t)| t + 2 * b < TIME);
    with_states(model, Input::features(numbers((BATCH, TIME, INPUT))).mask(live))
}

/// Sets states that are not zero for each stack.
fn with_states(model: &Model, input: Input<'static>) -> Input<'static> {
    model.stacks().enumerate().fold(input, |input, (index, stack)| {
        let of = |size: usize| numbers((stack.num_layers * stack.directions(), BATCH, size));
        let h = of(stack.state_size());
        let states =
            if stack.cell == Cell::Lstm { States::with_cell(h, of(stack.hidden_size)) } else { States::hidden(h) };
        input.stack_states(index, states)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kernel;

    fn answer() -> KnownAnswer {
        KnownAnswer::of(Strategy::Step, Target::Gpu, &Limits::WEBGPU).unwrap()
    }

    /// The fault that `answer` finds in its own numbers after `spoil` changed them.
    fn fault(answer: &KnownAnswer, spoil: impl FnOnce(&mut Vec<(SlotId, Vec<f32>)>)) -> Option<String> {
        let mut got = answer.expected.clone();
        spoil(&mut got);
        answer.fault(&got)
    }

    fn place(answer: &KnownAnswer, name: &str) -> usize {
        let named = |(slot, _): &(SlotId, _)| answer.plan.slots[*slot].name == name;
        answer.expected.iter().position(named).expect("a slot of this name")
    }

    #[test]
    fn the_right_numbers_have_no_fault_and_the_last_bits_do_not_matter() {
        let answer = answer();
        assert_eq!(fault(&answer, |_| {}), None);
        let shift = |got: &mut Vec<(SlotId, Vec<f32>)>| {
            got.iter_mut().flat_map(|(_, data)| data).for_each(|x| *x += 1e-6);
        };
        assert_eq!(fault(&answer, shift), None);
    }

    #[test]
    fn one_wrong_element_is_named_with_what_it_should_be() {
        let answer = answer();
        let hidden = place(&answer, "1.hidden.0");
        let [_, batch, width] = answer.plan.slots[answer.expected[hidden].0].dims[..] else { panic!("three axes") };
        let at = (2 * batch + 1) * width + 7;
        let right = answer.expected[hidden].1[at];
        let fault = fault(&answer, |got| got[hidden].1[at] = right + 0.01).expect("0.01 is a fault");
        assert_eq!(fault, format!("slot 1.hidden.0 of step [2, 1, 7]: expected {right}, got {}", right + 0.01));
    }

    #[test]
    fn the_first_wrong_slot_is_the_one_that_is_named() {
        let answer = answer();
        let (first, second) = (place(&answer, "0.hidden.0"), place(&answer, "1.hidden.0"));
        let text = fault(&answer, |got| {
            got[first].1[0] += 1.0;
            got[second].1[0] += 1.0;
        });
        assert!(text.unwrap().starts_with("slot 0.hidden.0 of step [0, 0, 0]: expected "));
    }

    #[test]
    fn what_was_never_written_is_a_fault() {
        let answer = answer();
        let text = fault(&answer, |got| *got.last_mut().unwrap().1.last_mut().unwrap() = f32::NAN).unwrap();
        assert!(text.ends_with(", got NaN"), "{text}");
    }

    #[test]
    fn missing_slots_and_elements_are_faults() {
        let answer = answer();
        let slots = answer.expected.len();
        let text = fault(&answer, |got| got.truncate(slots - 1)).unwrap();
        assert_eq!(text, format!("expected {slots} slots, got {}", slots - 1));
        let text = fault(&answer, |got| got[0].1.truncate(159)).unwrap();
        assert_eq!(text, "slot input: expected 160 elements, got 159");
    }

    #[test]
    fn every_target_runs_the_kernels_of_a_step() {
        for target in [Target::Software, Target::Gpu] {
            let answer = KnownAnswer::of(Strategy::Step, target, &Limits::WEBGPU).unwrap();
            let kernels: Vec<_> = answer.plan.programs.iter().map(|program| program.kernel()).collect();
            assert_eq!(kernels.iter().filter(|&&kernel| kernel == Kernel::Step).count(), 2, "{kernels:?}");
            assert_eq!(kernels.iter().filter(|&&kernel| kernel == Kernel::Gemm).count(), 2, "{kernels:?}");
        }
    }

    #[test]
    fn every_target_runs_the_kernel_of_a_wavefront() {
        for target in [Target::Software, Target::Gpu] {
            let answer = KnownAnswer::of(Strategy::Wavefront, target, &Limits::WEBGPU).unwrap();
            let kernels: Vec<_> = answer.plan.programs.iter().map(|program| program.kernel()).collect();
            assert_eq!(kernels.iter().filter(|&&kernel| kernel == Kernel::Wavefront).count(), 2, "{kernels:?}");
            assert!(!kernels.contains(&Kernel::Step), "{kernels:?}");
        }
    }

    #[test]
    fn every_target_runs_the_kernel_of_a_scan_with_weights_that_are_held_and_some_that_are_not() {
        for target in [Target::Software, Target::Gpu] {
            let answer = KnownAnswer::of(Strategy::Scan, target, &Limits::WEBGPU).unwrap();
            let held = answer.plan.programs.iter().filter(|program| program.kernel() == Kernel::Scan);
            let mut held: Vec<_> = held.map(|program| program.tile().is_some_and(|tile| tile.held > 0)).collect();
            held.sort_unstable();
            assert_eq!(held, [false, true]);
        }
    }
}
