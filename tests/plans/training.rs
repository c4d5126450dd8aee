//! Plans of gradients and their bounds.

use gatewave::inspect::kernel::RowLoss;
use gatewave::inspect::plan::lower::lower_gradients;
use gatewave::inspect::plan::{Gradients, LossTerm};

use super::*;

/// The plan of the weights' gradients of a call, for the sum of the squares of the output.
fn gradients_on(
    model: &Model,
    (time, batch): (usize, usize),
    limits: &Limits,
    tuning: impl Into<Tuning>,
) -> Result<Plan, Error> {
    let layout = Layout::for_training(model).expect("the model is right");
    let losses = vec![LossTerm { output: 0, logits: false, loss: RowLoss::SumOfSquares }];
    let wanted = Gradients { losses, weights: true, ..Gradients::default() };
    lower_gradients(model, &layout, Shape::new(time, batch, Mask::All), limits, &tuning.into(), &wanted)
}

#[test]
fn a_thousand_steps_of_wide_layers_train_within_the_limits_of_every_webgpu_device() {
    const GIB: u64 = 1 << 30;
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After), Cell::Gru(Reset::Before)] {
        let model = Model::new().layer(Recurrent::new(cell, 768, 768));
        for target in [Target::Software, Target::Gpu] {
            let plan = gradients_on(&model, (1024, 16), &Limits::WEBGPU, target);
            let plan = plan.unwrap_or_else(|error| panic!("{cell}: {error}"));
            check(&plan, &Limits::WEBGPU).unwrap_or_else(|error| panic!("{cell}: {error}"));
            assert_eq!(plan.shape.batch, 16);
            // A sequence takes 48 MiB. The kept values and all scratch
            // together stay within the memory of small devices.
            let all = plan.bytes(|_| true);
            assert!(plan.kept_bytes() <= GIB && all <= 2 * GIB, "{cell}: {} and {all} bytes", plan.kept_bytes());
        }
    }
}

/// Returns the number of dispatches of walks and steps, forward and backward.
fn ways(plan: &Plan) -> [usize; 4] {
    [Kernel::Scan, Kernel::ScanBack, Kernel::Step, Kernel::StepBack].map(|kernel| steps(plan, kernel))
}

#[test]
fn a_layer_of_few_weights_trains_by_a_dispatch_for_all_its_steps_each_way() {
    let on = |stack: Recurrent, time: usize, tuning: Tuning| {
        let plan = gradients_on(&Model::new().layer(stack), (time, 8), &Limits::WEBGPU, tuning);
        ways(&plan.expect("the plan fits"))
    };
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After)] {
        for stack in [Recurrent::new(cell, 8, 16), Recurrent::new(cell, 8, 16).bidirectional()] {
            for target in [Target::Software, Target::Gpu] {
                assert_eq!(on(stack.clone(), 50, target.into()), [1, 1, 0, 0]);
                assert_eq!(on(stack.clone(), 1, target.into()), [0, 0, 1, 1], "one step needs no scan");
                assert_eq!(on(stack.clone(), 50, fixed_to(Strategy::Step, target)), [0, 0, 50, 50]);
                // Workgroups that share a layer keep nothing.
                assert_eq!(on(stack.clone(), 50, fixed_to(Strategy::Persistent, target)), [1, 1, 0, 0]);
            }
            assert_eq!(on(stack, 50, Target::Host.into()), [0, 0, 50, 50]);
        }
    }
    let by_scan = fixed_to(Strategy::Scan, Target::Software);
    assert_eq!(on(Lstm::new(8, 1024), 3, by_scan), [1, 1, 0, 0], "as many as a workgroup has lanes for");
    assert_eq!(on(Lstm::new(8, 1025), 3, by_scan), [0, 0, 3, 3]);
    assert_eq!(on(Lstm::new(8, 16).recurrent_dropout(0.5), 3, by_scan), [1, 1, 0, 0], "a plan that drops nothing");
    assert_eq!(on(Lstm::new(8, 16).num_layers(2), 3, by_scan), [2, 2, 0, 0]);
}

#[test]
fn a_software_gpu_trains_by_steps_what_it_runs_by_scans() {
    let limits = Limits { subgroup_lanes: 8, ..Limits::WEBGPU };
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After)] {
        for (units, batch, by_scan) in
            [(16, 32, true), (16, 33, false), (64, 8, true), (64, 9, false), (128, 4, true), (144, 1, false)]
        {
            let model = Model::new().layer(Recurrent::new(cell, 8, units));
            let plan = gradients_on(&model, (5, batch), &limits, Target::Software).expect("the plan fits");
            assert_eq!(ways(&plan), if by_scan { [1, 1, 0, 0] } else { [0, 0, 5, 5] }, "{cell} {units} {batch}");
            let forward = plan_on(&model, (5, batch, Mask::All), &limits, Target::Software).expect("the plan fits");
            assert_eq!(steps(&forward, Kernel::Scan), 1, "{cell} {units} {batch}");
        }
    }
}

#[test]
fn a_scan_back_is_as_many_dispatches_as_loops_are_trusted_with() {
    for loop_iterations in [400, 1000, 65_535] {
        let limits = Limits { loop_iterations, ..Limits::WEBGPU };
        let stack = Lstm::new(8, 16).bidirectional();
        let plan = gradients_on(&Model::new().layer(stack), (100, 8), &limits, Target::Software).expect("it fits");
        check(&plan, &limits).expect("a sound plan");
        let scans = plan.steps.iter().filter(|step| plan.programs[step.program].kernel() == Kernel::ScanBack);
        let steps: Vec<_> = scans.map(|step| plan.params[step.params].steps).collect();
        assert_eq!(steps.iter().sum::<u32>(), 100, "{steps:?}");
        assert_eq!(steps.len() > 1, loop_iterations < 65_535, "{steps:?}");
    }
}
