//! Compares one plan on the adapter and on the CPU, slot by slot. The first slot that differs names the wrong kernel.
//!
//! The plans are those of a GPU, with its slices of the depth, and those of a device
//! so narrow that everything is cut. A software adapter by itself runs neither.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatewave::conformance::{Bug, Case, MaskKind, PlanBug, Tolerance, cases};
use gatewave::inspect::kernel::{Access, Kernel, POISON};
use gatewave::inspect::plan::tune::{Target, Tuning};
use gatewave::inspect::plan::{Limits, Plan, SlotId, Slots};
use gatewave::{Device, Engine, Strategy, Weights};

use crate::support::devices::adapter;
use crate::support::executor::{engine_for, telling_cases};
use crate::support::plans::{NARROW, Outcomes, plan_of};

/// A slot that differs.
#[derive(Debug)]
struct Difference {
    /// The slot, the element, both values, and the dispatch that wrote it first.
    place: String,
    /// How much of the tolerance it is.
    used: f64,
}

/// Finds the first slot, in the order in which dispatches write them,
/// with an element past its tolerance. Returns its worst element.
fn first_difference(
    plan: &Plan,
    got: &Slots,
    want: &Slots,
    tolerance: impl Fn(&[f32]) -> Tolerance,
) -> Option<Difference> {
    let named = |slots: &Slots, slot: SlotId| {
        let name = &plan.slots[slot].name;
        slots.iter().find(|(traced, _)| traced == name).unwrap_or_else(|| panic!("no slot {name}")).1.clone()
    };
    assert_eq!(got.len(), want.len(), "slots");
    writers(plan).into_iter().find_map(|(slot, step)| {
        let (got, want) = (named(got, slot), named(want, slot));
        assert_eq!(got.len(), want.len(), "{}", plan.slots[slot].name);
        let (pairs, tolerance) = (got.iter().zip(&want).enumerate(), tolerance(&want));
        let (index, used) =
            pairs.map(|(index, (&a, &b))| (index, used(a, b, tolerance))).max_by(|a, b| a.1.total_cmp(&b.1))?;
        let kernel = plan.programs[plan.steps[step].program].kernel().name();
        let place = format!(
            "{}[{index}], first written by step {step} ({kernel}): got {}, want {}",
            plan.slots[slot].name, got[index], want[index]
        );
        (used > 1.0).then_some(Difference { place, used })
    })
}

/// Returns the slots that dispatches write, each with the first dispatch that does.
fn writers(plan: &Plan) -> Vec<(SlotId, usize)> {
    let mut seen = BTreeSet::new();
    let mut writers = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let bindings = plan.programs[step.program].bindings().skip(1).zip(&step.windows);
        for (_, window) in bindings.filter(|(binding, _)| binding.access == Access::ReadWrite) {
            if seen.insert(window.slot) {
                writers.push((window.slot, index));
            }
        }
    }
    writers
}

/// Returns the distance of `a` and `b` as a part of the tolerance. An unwritten
/// element must be so on both sides; a computed NaN agrees with nothing.
fn used(a: f32, b: f32, tolerance: Tolerance) -> f64 {
    if (a.to_bits(), b.to_bits()) == (POISON, POISON) {
        return 0.0;
    }
    let (a, b) = (f64::from(a), f64::from(b));
    match (a.is_finite(), b.is_finite()) {
        (true, true) => (a - b).abs() / (tolerance.abs + tolerance.rel * a.abs().max(b.abs())),
        _ => f64::INFINITY,
    }
}

/// Creates an engine whose weights are where plans for `target` read them.
fn engine(target: Target, device: &Device, case: &Case, weights: &Weights) -> Engine {
    let options = Engine::builder().target(target);
    engine_for(&options, device, case.precision, &case.model, weights).expect("the engine opens")
}

/// Compares both runs of `plan`, which is one for `target`.
fn compare(
    case: &Case,
    (plan, target): (&Arc<Plan>, Target),
    on_gpu: &Weights,
    on_cpu: &Weights,
) -> Option<Difference> {
    let trace = |device: &Device, weights: &Weights| {
        let engine = engine(target, device, case, weights);
        engine.trace_plan(plan, &case.input()).unwrap_or_else(|error| panic!("{}: {error}", case.name))
    };
    let (got, want) = (trace(&adapter(), on_gpu), trace(&Device::Cpu, on_cpu));
    first_difference(plan, &got, &want, |_| Tolerance::executors(&case.model, case.time))
}

/// A GPU's choices except the strategy.
fn by(strategy: Strategy) -> Tuning {
    Tuning::of(Target::Gpu).with_strategy(Some(strategy))
}

/// Compares every `each`-th case from `first` on, with the plan of `tuning` for `limits`. Returns
/// the plans that exist. The engine would cut the batch of the others, which is not the plan's work.
fn every((first, each): (usize, usize), tuning: impl Into<Tuning>, limits: &Limits) -> (Vec<Arc<Plan>>, Outcomes) {
    let tuning = tuning.into();
    let target = tuning.target();
    let (mut plans, mut outcomes) = (Vec::new(), Outcomes::default());
    let mut differ = Vec::new();
    for case in cases().iter().skip(first).step_by(each) {
        let Some(plan) = outcomes.count(&case.name, plan_of(case, tuning, limits)) else { continue };
        let weights = case.weights();
        if let Some(difference) = compare(case, (&plan, target), &weights, &weights) {
            differ.push(format!("{}: {} ({:.1} tolerances)", case.name, difference.place, difference.used));
        }
        plans.push(plan);
    }
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), plans.len(), differ.join("\n"));
    (plans, outcomes)
}

fn kernels(plans: &[Arc<Plan>]) -> BTreeSet<Kernel> {
    plans.iter().flat_map(|plan| &plan.programs).map(|program| program.kernel()).collect()
}

#[test]
fn a_nan_agrees_with_nothing_but_what_nobody_wrote_on_both_sides() {
    let used = |a: u32, b: u32| used(f32::from_bits(a), f32::from_bits(b), Tolerance { abs: 1.0, rel: 0.0 });
    let (quiet, zero) = (f32::NAN.to_bits(), 0);
    assert_eq!(used(POISON, POISON), 0.0);
    for (a, b) in [(quiet, quiet), (POISON, quiet), (quiet, POISON), (POISON, zero), (zero, POISON), (quiet, zero)] {
        assert_eq!(used(a, b), f64::INFINITY, "{a:x} and {b:x}");
    }
    let computed = f32::from_bits(POISON) + std::hint::black_box(1.0);
    assert!(computed.is_nan() && computed.to_bits() != POISON, "{:x}", computed.to_bits());
}

#[test]
fn plans_for_a_gpu_give_the_cpus_slots() {
    let (plans, outcomes) = every((0, 7), by(Strategy::Wavefront), &Limits::WEBGPU);
    assert_eq!(outcomes.counts(), (cases().len().div_ceil(7), vec![]));
    assert!(kernels(&plans).len() >= 9 && kernels(&plans).contains(&Kernel::Wavefront), "{:?}", kernels(&plans));
    let sliced = plans.iter().filter(|plan| {
        plan.programs.iter().any(|p| p.kernel().is_step() && p.tile().is_some_and(|tile| tile.slices > 1))
    });
    assert!(sliced.count() > 12);
}

#[test]
fn plans_by_scans_give_the_cpus_slots() {
    let (plans, outcomes) = every((2, 9), by(Strategy::Scan), &Limits::WEBGPU);
    assert_eq!(outcomes.counts(), ((cases().len() - 2).div_ceil(9), vec![]));
    let scans: Vec<_> = plans.iter().flat_map(|plan| &plan.programs).filter(|p| p.kernel() == Kernel::Scan).collect();
    assert!(scans.len() > 15, "only {}", scans.len());
    assert!(
        [true, false].iter().all(|&held| scans.iter().any(|p| p.tile().is_some_and(|tile| (tile.held > 0) == held))),
        "{scans:?}"
    );
}

#[test]
fn plans_for_a_narrow_device_give_the_cpus_slots() {
    let (plans, outcomes) = every((1, 7), Target::Software, &NARROW);
    assert_eq!(outcomes.counts(), (51, vec![("binding", 2)]));
    assert!(kernels(&plans).len() >= 8, "{:?}", kernels(&plans));
}

/// The allowed error of a gradient's slot, for each unit of its largest
/// element: both executors add the same products in another order.
const OF_GRADIENTS: f64 = 5e-5;

/// Returns the tolerance of a slot. If all of it is less than a few thousandths, it is left over from
/// numbers around 1 that cancel: an output and its target, say. f32 knows those to about 1e-7.
fn of_gradients(slot: &[f32]) -> Tolerance {
    let numbers = slot.iter().filter(|x| x.is_finite()).map(|x| f64::from(x.abs()));
    Tolerance { abs: OF_GRADIENTS * numbers.fold(4e-3, f64::max), rel: 0.0 }
}

/// Makes the plan of a case's gradients for a GPU, in chunks of four steps, and compares it.
fn compare_gradients(
    case: &Case,
    by: Strategy,
    bug: impl Fn(&Arc<Plan>) -> Arc<Plan> + Sync,
) -> (Arc<Plan>, Option<Difference>) {
    let case = case.training(&case.weights()).expect("the case is right");
    let trainer = |device| {
        let options = Engine::builder().device(device).target(Target::Gpu).chunk_bytes(0);
        case.trainer(options.strategy(by)).expect("a trainer")
    };
    let mut plan = None;
    let got = trainer(adapter()).trace_by(&case.batch, &mut |own| {
        plan = Some(Arc::clone(own));
        bug(own)
    });
    let plan = plan.expect("a batch has a plan");
    let want = trainer(Device::Cpu).trace_by(&case.batch, &mut |_| Arc::clone(&plan));
    let difference = first_difference(&plan, &got.expect("a trace"), &want.expect("a trace"), of_gradients);
    (plan, difference)
}

#[test]
fn plans_of_gradients_give_the_cpus_slots() {
    let (mut plans, mut differ) = (Vec::new(), Vec::new());
    let by_steps = cases().into_iter().skip(3).step_by(13).map(|case| (case, Strategy::Step));
    for (case, by) in by_steps.chain(cases().into_iter().skip(4).step_by(110).map(|case| (case, Strategy::Scan))) {
        let (plan, difference) = compare_gradients(&case, by, Arc::clone);
        if let Some(difference) = difference {
            differ.push(format!("{} by {by}: {} ({:.1} tolerances)", case.name, difference.place, difference.used));
        }
        plans.push(plan);
    }
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), plans.len(), differ.join("\n"));
    let backward = kernels(&plans).into_iter().filter(|kernel| kernel.name().ends_with("_back")).count();
    assert!(plans.len() > 20 && backward >= 9, "{:?}", kernels(&plans));
}

#[test]
fn a_bug_in_a_plan_of_gradients_is_a_difference_in_the_slot_that_it_spoils() {
    let tells = |case: &&Case| case.time > 4 && case.batch > 1 && case.mask == MaskKind::All;
    let case = cases().into_iter().find(|case| tells(&case)).expect("a case of several steps");
    let bugs = [PlanBug::StepLeftOut, PlanBug::ChunksForgotten, PlanBug::RowForgotten];
    let by_steps = bugs.map(|bug| (bug, Strategy::Step));
    for (bug, by) in by_steps.into_iter().chain([(PlanBug::StepLeftOut, Strategy::Scan)]) {
        let planted =
            |plan: &Arc<Plan>| Arc::new(bug.plant(plan).unwrap_or_else(|| panic!("{bug:?}: nothing to spoil")));
        let difference =
            compare_gradients(&case, by, planted).1.unwrap_or_else(|| panic!("{bug:?} by {by} is not found"));
        assert!(difference.used > 10.0, "{bug:?} by {by}: {difference:?}");
    }
}

#[test]
fn a_planted_bug_is_a_difference_of_ten_tolerances_in_a_slot_of_its_own() {
    for case in telling_cases() {
        let plan = plan_of(&case, by(Strategy::Step), &Limits::WEBGPU).expect("the plan fits");
        let weights = case.weights();
        let wrong = Bug::RowOffByOne.plant(&case.model, &weights).expect("there are recurrent weights");
        let difference =
            compare(&case, (&plan, Target::Gpu), &wrong, &weights).unwrap_or_else(|| panic!("{}: none", case.name));
        assert!(difference.used > 10.0, "{}: {difference:?}", case.name);
        // The input's product is right, so the recurrent one is wrong.
        assert!(difference.place.contains("(step"), "{}: {difference:?}", case.name);
    }
}

#[test]
fn a_dispatch_that_is_not_run_leaves_nan() {
    let case = telling_cases().remove(0);
    let mut plan = Arc::unwrap_or_clone(plan_of(&case, by(Strategy::Step), &Limits::WEBGPU).expect("the plan fits"));
    plan.steps.truncate(1);
    let plan = Arc::new(plan);
    for device in [adapter(), Device::Cpu] {
        let engine = engine(Target::Gpu, &device, &case, &case.weights());
        let slots = engine.trace_plan(&plan, &case.input()).expect("the plan runs");
        let read = plan.reads[0];
        let read_name = &plan.slots[read.slot].name;
        let (_, data) = slots.iter().find(|(name, _)| name == read_name).expect("what is read is traced");
        let first = usize::try_from(read.offset / 4).expect("a small slot");
        assert!(data[first].is_nan(), "{device:?}: {read_name}");
    }
}
