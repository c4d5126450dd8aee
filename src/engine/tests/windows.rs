//! A device so narrow that weights, tables, sequences, time and batch are cut, compared with
//! the host, which cuts nothing. Both give the same results.

use std::collections::BTreeSet;

use super::*;
use crate::conformance::{Case, Tolerance, cases, compare};
use crate::kernel::Kernel;
use crate::plan::SlotKind;

/// What a plan cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    /// The panels of a matrix, over several dispatches.
    Weights,
    /// The rows of a table, over several dispatches.
    Table,
    /// The hoisted product, into chunks of time.
    Time,
    /// A sequence, bound window by window.
    Sequence,
    /// The batch, into tiles: several plans.
    Batch,
}

fn cuts(case: &Case, plan: &Plan) -> BTreeSet<Cut> {
    let kernel = |kernel: Kernel| plan.steps.iter().filter(move |step| plan.programs[step.program].kernel() == kernel);
    let windows = |kind: fn(SlotKind) -> bool, of: usize| {
        let bound =
            plan.steps.iter().flat_map(|step| &step.windows).filter(|window| kind(plan.slots[window.slot].kind));
        bound.filter(|window| window.slot == of).map(|window| (window.offset, window.bytes)).collect::<BTreeSet<_>>()
    };
    let cut = |kind: fn(SlotKind) -> bool| (0..plan.slots.len()).any(|slot| windows(kind, slot).len() > 1);
    let tokens = kernel(Kernel::Gather).map(|step| plan.params[step.params].token).collect::<BTreeSet<_>>();
    let times = kernel(Kernel::Gemm).map(|step| plan.params[step.params].rows).collect::<BTreeSet<_>>();
    let mut cuts = BTreeSet::new();
    cuts.extend(cut(|kind| matches!(kind, SlotKind::Weights(_))).then_some(Cut::Weights));
    cuts.extend((tokens.len() > 1).then_some(Cut::Table));
    cuts.extend(times.iter().any(|&rows| (rows as usize) < case.time * plan.shape.batch).then_some(Cut::Time));
    cuts.extend(cut(|kind| matches!(kind, SlotKind::Input | SlotKind::Output)).then_some(Cut::Sequence));
    cuts.extend((plan.shape.batch < case.batch).then_some(Cut::Batch));
    cuts
}

fn engine(case: &Case, limits: Limits) -> Engine {
    let options = Engine::builder().device(Device::Cpu).precision(case.precision);
    let mut engine = options.build(&case.model, &case.weights()).unwrap();
    Arc::get_mut(&mut engine.planner).unwrap().limits = limits;
    engine
}

#[test]
fn what_is_cut_to_fit_a_narrow_device_gives_what_it_gives_whole() {
    let mut seen = BTreeSet::new();
    let (mut compared, mut refused) = (0, 0);
    for case in cases() {
        let input = case.input();
        let call = input.check(&case.model).unwrap();
        let whole = engine(&case, Limits::HOST).run(&input).unwrap();
        for binding_bytes in [8 << 10, 32 << 10, 64 << 10] {
            let narrow = engine(&case, Limits { binding_bytes, ..Limits::WEBGPU });
            let mut tiles = Tiles::of(&narrow.planner, &call);
            let tiles: Result<Vec<_>> = std::iter::from_fn(|| block_on(tiles.next()).transpose()).collect();
            let tiles = match tiles {
                Err(error) if error.kind() == ErrorKind::Limits => {
                    refused += 1;
                    continue;
                }
                tiles => tiles.unwrap(),
            };
            let cuts: BTreeSet<_> = tiles.iter().flat_map(|tile| cuts(&case, &tile.plan)).collect();
            if cuts.is_empty() {
                continue;
            }
            let cut = narrow.run(&input).unwrap();
            let tolerance = Tolerance::executors(&case.model, case.time);
            let near = |cut: &ndarray::ArrayD<f32>, whole: &ndarray::ArrayD<f32>| {
                let comparison = compare(cut.view(), whole.mapv(f64::from).view(), tolerance).unwrap();
                assert!(comparison.passed(), "{} in {binding_bytes} bytes, {cuts:?}: {comparison}", case.name);
            };
            near(&cut.output, &whole.output);
            assert_eq!(cut.others.len(), whole.others.len(), "{}", case.name);
            cut.others.iter().zip(&whole.others).for_each(|(cut, whole)| near(cut, whole));
            cut.states.iter().zip(&whole.states).for_each(|(cut, whole)| near(&cut.h, &whole.h));
            seen.extend(cuts);
            compared += 1;
        }
    }
    let all = [Cut::Weights, Cut::Table, Cut::Time, Cut::Sequence, Cut::Batch];
    assert_eq!(seen, BTreeSet::from(all));
    assert_eq!((compared, refused), (377, 321));
}
