//! The bounds of every plan: the limits of its device, scratch
//! that does not grow, each row covered; and what is refused.

use super::*;

#[test]
fn a_texture_is_bound_whole_and_holds_no_table_and_no_matrix_past_its_rows() {
    let mut plan = plan(&Model::new().layer(Lstm::new(8, 33)), (2, 1, Mask::All));
    plan.steps[0].windows[0].bytes -= 256;
    let error = check(&plan, &Limits::WEBGPU).expect_err("a part of a texture");
    assert!(error.to_string().contains(" bytes as a texture, which is bound whole"), "{error}");
    let media = |model: Model| {
        let layout = Layout::of(&model, Precision::F32).expect("the model is right").with_medium(Medium::Texture);
        (0..layout.buffers.len()).map(|buffer| layout.medium_of(buffer)).collect::<Vec<_>>()
    };
    let tokens = Model::new().layer(Embedding::new(9, 70_000)).layer(Linear::new(70_000, 400));
    assert_eq!(media(tokens), [Medium::Buffer, Medium::Texture]);
    assert_eq!(media(Model::new().layer(Linear::new(70_000, 500))), [Medium::Buffer], "143 MB");
}

#[test]
fn scratch_does_not_grow_with_time() {
    let model = Model::new().layer(Lstm::new(64, 256));
    let scratch = |time| plan(&model, (time, 1, Mask::All)).bytes(|kind| kind == SlotKind::Scratch);
    assert_eq!(scratch(10_000), scratch(100_000));
    assert!(scratch(100_000) < 64 << 20, "{} bytes", scratch(100_000));

    let stack = Model::new().layer(Lstm::new(64, 256).num_layers(3)).layer(Select::LastStep).layer(Linear::new(256, 2));
    let scratch =
        |time| plan(&stack, (time, 1, Mask::All)).bytes(|kind| matches!(kind, SlotKind::Scratch | SlotKind::Output));
    assert_eq!(scratch(10_000), scratch(100_000));
}

#[test]
fn chunks_of_a_long_call_share_their_params() {
    let model = Model::new().layer(Lstm::new(64, 256));
    let long = plan(&model, (100_000, 1, Mask::All));
    assert_eq!(steps(&long, Kernel::Step), 100_000);
    assert!(long.params.len() < 10_000, "{} params", long.params.len());
}

#[test]
fn equal_inputs_give_equal_plans() {
    let model = Model::new().layer(Gru::new(5, 33).num_layers(2).bidirectional());
    assert_eq!(plan(&model, (9, 3, Mask::Live)), plan(&model, (9, 3, Mask::Live)));
}

#[test]
fn a_buffer_past_the_limit_is_refused_with_what_there_is() {
    let model = Model::new().layer(Lstm::new(64, 256));
    let small = Limits { buffer_bytes: 100_000, ..Limits::WEBGPU };
    let error = plan_on(&model, (10, 1, Mask::All), &small, Target::Gpu).expect_err("the weights do not fit");
    assert_eq!(error.kind(), ErrorKind::Limits);
    assert_eq!(
        error.to_string(),
        "0.w_x.0: needs a buffer of 266240 bytes, the device's largest is 100000; try smaller weights (--precision f16 or \
         int8), or another device"
    );
}

#[test]
fn any_size_is_planned_or_refused_and_nothing_of_that_size_is_made() {
    let models = [
        Model::new().layer(Lstm::new(8, 16).num_layers(2).bidirectional()),
        Model::new().layer(Gru::new(2_147_483_647, 2_147_483_647).cell(Cell::Gru(Reset::Before))),
        Model::new().layer(OneHot::new(2_147_483_647)).layer(Lstm::new(2_147_483_647, 2_147_483_647).bidirectional()),
        Model::new().layer(Embedding::new(9, 5)).layer(Linear::new(5, 2_147_483_647).activation(Activation::Softmax)),
    ];
    let sizes = [1, 1_000, 1 << 22, 1 << 33, 1_000_000_000_000, usize::MAX];
    let mut outcomes = [Outcomes::default(), Outcomes::default()];
    for (model, (at, limits)) in
        models.iter().flat_map(|model| [(model, (0, Limits::WEBGPU)), (model, (1, Limits::HOST))])
    {
        for (time, batch) in sizes.into_iter().flat_map(|time| sizes.map(|batch| (time, batch))) {
            for mask in [Mask::All, Mask::Live] {
                let plan = plan_on(model, (time, batch, mask), &limits, Target::Host);
                if let Some(plan) = outcomes[at].count("any size", plan) {
                    assert!(plan.steps.len() <= 1 << 22);
                }
            }
        }
    }
    let [webgpu, host] = outcomes.map(|outcomes| outcomes.counts());
    assert_eq!(webgpu, (8, vec![("buffer", 280)]));
    assert_eq!(host, (10, vec![("buffer", 270), ("dispatches", 4), ("elements", 4)]));
}

#[test]
fn a_call_of_too_many_steps_is_refused_with_how_many_there_may_be() {
    let model = Model::new().layer(Rnn::new(1, 1));
    let error = plan_on(&model, (5_000_000, 1, Mask::All), &Limits::HOST, Target::Host).expect_err("too many");
    assert_eq!(
        error.to_string(),
        "needs 5000000 dispatches or more, a plan has at most 4194304; try fewer steps a call"
    );
}

#[test]
fn a_stack_that_cannot_be_listed_is_refused() {
    let model = Model::new().layer(Rnn::new(1, 1).num_layers(2_147_483_647));
    let error = Layout::of(&model, Precision::F32).expect_err("too many layers");
    assert_eq!(error.to_string(), "layer 0: a stack of 2147483647 layers, the most is 4096");
}

#[test]
fn large_panels_are_cut_one_by_one() {
    // A panel takes 18 MB, eight of them more than a binding.
    let model = Model::new().layer(Lstm::new(70_000, 128));
    let plan = plan_on(&model, (2, 1, Mask::All), &Limits::WEBGPU, Target::Gpu).expect("the plan fits");
    let windows: Vec<_> = plan
        .steps
        .iter()
        .filter(|step| plan.programs[step.program].kernel() == Kernel::Gemm)
        .map(|step| (step.windows[0].offset, plan.params[step.params].panel, plan.params[step.params].panels))
        .collect();
    let panel = 70_001 * 4 * 16 * 4;
    assert_eq!(windows, [(0, 0, 7), (7 * panel, 7, 1)]);
}

#[test]
fn params_past_the_largest_buffer_are_refused() {
    let model = Model::new().layer(Rnn::new(1, 1).bidirectional());
    let right = plan(&model, (500, 1, Mask::All));
    let limits = Limits { buffer_bytes: right.params_bytes(), ..Limits::WEBGPU };
    assert!(right.slots.iter().all(|slot| slot.bytes < limits.buffer_bytes), "{right}");
    check(&right, &limits).expect("as large as the largest");
    let limits = Limits { buffer_bytes: right.params_bytes() - 1, ..limits };
    let error = check(&right, &limits).expect_err("one byte too many");
    assert!(error.to_string().starts_with("params: needs a buffer of "), "{error}");
}

#[test]
fn a_depth_past_what_a_device_is_trusted_with_is_refused_with_what_would_do() {
    let on =
        |depth| plan_on(&Model::new().layer(Linear::new(depth, 1)), (1, 1, Mask::All), &Limits::WEBGPU, Target::Gpu);
    let error = on(300_000).expect_err("too deep").to_string();
    assert!(error.ends_with(" would do; the CPU (--device cpu) takes any number"), "{error}");
    let fits: usize =
        error.rsplit(" would do").nth(1).and_then(|text| text.rsplit(' ').next()).unwrap().parse().unwrap();
    assert!((250_000..270_000).contains(&fits), "{error}");
    on(fits).expect("what the message says");
    on(fits + 64).expect_err("not much more");
}

type Fault = fn(&mut Plan);

#[test]
fn a_plan_that_contradicts_itself_is_malformed_whatever_the_limits() {
    let model = Model::new().layer(Lstm::new(8, 32).bidirectional());
    let right = plan(&model, (4, 3, Mask::Live));
    let breaks: [(&str, Fault); 12] = [
        ("a row past the state", |p| p.params[1].target_0 = 99),
        ("a row before the first", |p| p.params[1].source_0 = u32::MAX),
        ("an empty grid", |p| p.steps[1].grid[2] = 0),
        ("a direction that no row has", |p| p.params[1].directions = 1),
        ("a slot bound twice", |p| p.steps[1].windows[1] = p.steps[1].windows[0]),
        ("an unaligned window", |p| p.steps[1].windows[0].offset = 4),
        ("a window past the slot", |p| p.steps[1].windows[0].bytes += 256),
        ("a missing window", |p| p.steps[1].windows.truncate(1)),
        ("a slot read before it is written", |p| p.writes.clear()),
        ("a dispatch that is left out", |p| drop(p.steps.remove(0))),
        ("a write past the slot", |p| p.writes[0].bytes += 4),
        ("a read past the slot", |p| p.reads[0].offset += 1 << 20),
    ];
    for (what, break_it) in breaks {
        let mut plan = right.clone();
        break_it(&mut plan);
        for limits in [Limits::WEBGPU, Limits::HOST] {
            let violation = check(&plan, &limits).expect_err(what);
            assert!(matches!(violation, Violation::Malformed(_)), "{what}: {violation:?}");
            let error = violation.into_error();
            assert_eq!(error.kind(), ErrorKind::Internal, "{what}");
            assert!(error.to_string().ends_with("; this is a bug of gatewave, please report it"), "{what}: {error}");
        }
    }
}

#[test]
fn a_plan_that_needs_more_than_the_device_has_exceeds_its_limits() {
    let model = Model::new().layer(Lstm::new(8, 32).bidirectional());
    let mut right = plan(&model, (4, 3, Mask::Live));
    let tile = right.programs[1].tile().expect("a step has a tile");
    right.programs[1] = right.programs[1].with_tile(Tile { slices: 4, ..tile });
    check(&right, &Limits::WEBGPU).expect("it is right");
    let narrow: [(&str, Limits); 6] = [
        (": needs a buffer of ", Limits { buffer_bytes: 1 << 10, ..Limits::WEBGPU }),
        (": needs a binding of ", Limits { binding_bytes: 1 << 10, ..Limits::WEBGPU }),
        (": a grid of ", Limits { workgroups: 1, ..Limits::WEBGPU }),
        (" invocations a workgroup, ", Limits { invocations: 1, ..Limits::WEBGPU }),
        (" bytes of workgroup memory, ", Limits { workgroup_bytes: 16, ..Limits::WEBGPU }),
        (" iterations of loops an invocation, ", Limits { loop_iterations: 1, ..Limits::WEBGPU }),
    ];
    for (says, limits) in narrow {
        let violation = check(&right, &limits).expect_err(says);
        assert!(matches!(&violation, Violation::Exceeds(text) if text.contains(says)), "{says}: {violation:?}");
        assert_eq!(violation.into_error().kind(), ErrorKind::Limits);
    }
    right.steps[1].grid[0] = 70_000;
    assert!(matches!(check(&right, &Limits::WEBGPU), Err(Violation::Exceeds(_))));
}

#[test]
fn every_plan_covers_its_rows_within_any_limits() {
    let cells = Cell::ALL;
    let mut outcomes: BTreeMap<u64, Outcomes> = BTreeMap::new();
    let mut kernels = BTreeSet::new();
    for (index, cell) in cells.into_iter().cycle().take(60).enumerate() {
        let (hidden, layers) = ([1, 16, 33, 65, 130][index % 5], 1 + index % 3);
        let mut stack = Recurrent::new(cell, 40, hidden).num_layers(layers);
        if index % 2 == 0 {
            stack = stack.bidirectional();
        }
        if cell == Cell::Lstm && hidden > 4 && index % 4 < 2 {
            stack = stack.proj_size(3);
        }
        let features = stack.output().len();
        let model = Model::new()
            .layer(Embedding::new(300, 40))
            .layer(stack)
            .layer([Select::AllSteps, Select::LastStep, Select::FinalHidden][index % 3])
            .layer(Linear::new(features, 70).activation(Activation::LogSoftmax));
        for binding_bytes in [64 << 10, 256 << 10, 128 << 20] {
            let limits = Limits { binding_bytes, workgroups: 200, ..Limits::WEBGPU };
            for (time, batch) in [(1, 1), (3, 17), (70, 2)] {
                for mask in [Mask::All, Mask::Live] {
                    for target in [Target::Host, Target::Software, Target::Gpu] {
                        let plan = plan_on(&model, (time, batch, mask), &limits, target);
                        let outcomes = outcomes.entry(binding_bytes).or_default();
                        if let Some(plan) = outcomes.count(&format!("{cell} {hidden}"), plan) {
                            assert!(plan.steps.iter().all(|step| covers(&plan, step)), "{plan}");
                            kernels.extend(plan.programs.iter().map(|program| program.kernel()));
                        }
                    }
                }
            }
        }
    }
    let counts: Vec<_> = outcomes.values().map(Outcomes::counts).collect();
    assert_eq!(counts, [(886, vec![("binding", 194)]), (1080, vec![]), (1080, vec![])]);
    assert!(kernels.len() >= 8, "only {kernels:?}");
}
