//! Layers that workgroups share: how many workgroups there are,
//! what each mailbox is cleared for, and what is left to steps.

use super::*;

/// The plan for a GPU that is known to have this many co-resident workgroups.
fn shared(model: &Model, (time, batch, mask): (usize, usize, Mask), co_resident_workgroups: u32) -> Plan {
    let limits = Limits { co_resident_workgroups, ..Limits::WEBGPU };
    plan_on(model, (time, batch, mask), &limits, fixed_to(Strategy::Persistent, Target::Gpu)).expect("the plan fits")
}

/// Returns the grids of the dispatches that share a layer.
fn grids(plan: &Plan) -> Vec<[u32; 3]> {
    let shared = plan.steps.iter().filter(|step| plan.programs[step.program].kernel() == Kernel::Persistent);
    shared.map(|step| step.grid).collect()
}

#[test]
fn golden_workgroups_share_a_layer() {
    let model = Model::new().layer(Lstm::new(8, 33).bidirectional()).layer(Gru::new(66, 16)).layer(Rnn::new(16, 70));
    assert_golden("persistent", &shared(&model, (5, 2, Mask::Live), 8));
}

#[test]
fn no_more_workgroups_share_a_layer_than_run_side_by_side() {
    let on = |stack: Recurrent, batch, co_resident| {
        grids(&shared(&Model::new().layer(stack), (9, batch, Mask::All), co_resident))
    };
    let lstm = || Lstm::new(8, 128);
    assert_eq!(on(lstm(), 1, 64), [[8, 1, 1]], "a panel each");
    assert_eq!(on(lstm(), 1, 4), [[4, 1, 1]]);
    assert_eq!(on(lstm(), 1, 3), [[3, 1, 1]], "three panels, three, and two");
    assert_eq!(on(lstm(), 17, 6), [[2, 3, 1]], "three tiles of rows");
    assert_eq!(on(lstm().bidirectional(), 1, 4), [[2, 1, 2]], "directions side by side");
    assert_eq!(on(lstm().bidirectional(), 1, 2), [[2, 1, 1]; 2], "one after the other");
    for (stack, batch, co_resident) in [
        (lstm(), 17, 5),
        (Lstm::new(8, 16), 1, 64),
        (lstm().proj_size(5), 1, 64),
        (lstm().cell(Cell::Gru(Reset::Before)), 1, 64),
    ] {
        assert_eq!(on(stack, batch, co_resident), [[0; 3]; 0], "this is left to steps");
    }
}

#[test]
fn where_no_two_workgroups_are_sure_to_meet_each_has_a_layer_by_itself() {
    let plan = shared(&Model::new().layer(Lstm::new(8, 128).bidirectional()), (9, 17, Mask::All), 1);
    let kernels: Vec<_> = plan.programs.iter().map(|program| program.kernel()).collect();
    assert_eq!(kernels, [Kernel::Gemm, Kernel::Scan]);
}

#[test]
fn a_mailbox_is_reset_before_each_dispatch_and_what_tells_of_the_run_once() {
    let model = Model::new().layer(Gru::new(8, 32).num_layers(2));
    // So long that a loop may take only some of the steps.
    let plan = shared(&model, (3000, 1, Mask::All), 2);
    let firsts: Vec<_> = plan
        .steps
        .windows(2)
        .filter(|pair| plan.programs[pair[1].program].kernel() == Kernel::Persistent)
        .map(|pair| {
            assert_eq!(plan.programs[pair[0].program].kernel(), Kernel::ResetMailbox);
            let (reset, steps) = (plan.params[pair[0].params], plan.params[pair[1].params].steps);
            assert_eq!(reset.target_0 + reset.rows, 1 + steps, "a row a step");
            reset.target_0
        })
        .collect();
    assert!(firsts.len() > 3, "{plan}");
    assert!(firsts[0] == 0 && firsts[1..].iter().all(|&first| first == 1), "{firsts:?}");
}

#[test]
fn check_refuses_workgroups_that_might_wait_for_ever() {
    let plan = shared(&Model::new().layer(Lstm::new(8, 64)), (9, 1, Mask::All), 4);
    let limits = Limits { co_resident_workgroups: 3, ..Limits::WEBGPU };
    let error = check(&plan, &limits).expect_err("there are four");
    let text = "dispatch 2 persistent: 4 workgroups that wait for each other, 3 are known to run side by side";
    assert_eq!(error, Violation::Exceeds(text.to_owned()));
}
