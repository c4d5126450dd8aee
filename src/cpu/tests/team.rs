//! Consecutive steps: where a run of them ends, and what happens to a team that loses a worker.

use std::panic::catch_unwind;

use super::step::{Sizes, step, step_case};
use super::*;
use crate::cpu::team::{Barrier, PanicGuard, len};

const SIZES: Sizes = Sizes { batch: 3, units: 48, skip: [0, 0], depth: 48, directions: 2, direction: 0, sides: 2 };

/// A plan of two LSTM steps: the first goes from rows 0 and 1 to rows 3 and 2, the second from `source` on.
fn two_steps(source: [u32; 2], sides: usize) -> Plan {
    let case = step_case(step(Cell::Lstm, StateKind::Cell), Sizes { sides, ..SIZES });
    let (mut plan, _, _) = case.plan();
    let [source_0, source_1] = source;
    plan.params.push(Params {
        source_0,
        source_1,
        target_0: 1,
        target_1: 0,
        cell_in: 1,
        cell_out: 0,
        ..plan.params[0]
    });
    plan.steps.push(Dispatch { params: 1, ..plan.steps[0].clone() });
    plan
}

#[test]
fn a_run_goes_on_while_each_step_reads_what_the_last_one_left() {
    let whole = two_steps([3, 2], 2);
    assert_eq!(len(&whole, &whole.steps), 2);
    for source in [[3, 3], [0, 2], [0, 1]] {
        let plan = two_steps(source, 2);
        assert_eq!(len(&plan, &plan.steps), 1, "{source:?}");
    }
    // Rows of a direction that is not computed do not matter.
    let single = two_steps([3, 9], 1);
    assert_eq!(len(&single, &single.steps), 2);
}

#[test]
fn a_run_ends_where_other_states_or_another_kernel_begin() {
    let changes: [fn(&mut Plan); 4] = [
        |plan| plan.params[1].batch -= 1,
        |plan| plan.steps[1].grid[2] = 1,
        |plan| plan.steps[1].windows.iter_mut().for_each(|window| window.offset += 256),
        |plan| {
            plan.programs.push(Program::MaskOutputs);
            plan.steps[1].program = 1;
        },
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut plan = two_steps([3, 2], 2);
        change(&mut plan);
        assert_eq!(len(&plan, &plan.steps), 1, "change {i}");
    }
}

#[test]
fn nobody_waits_for_a_member_that_panicked() {
    let barrier = Barrier::default();
    let lost = catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = PanicGuard(&barrier);
        panic!("a bug");
    }));
    assert!(lost.is_err());
    let waits = catch_unwind(std::panic::AssertUnwindSafe(|| barrier.wait(|| false)));
    assert!(waits.is_err(), "the wait ends, though what it waits for never comes");
}
