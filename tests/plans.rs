//! Plans without a device: golden texts, and what must hold for every plan that `lower` returns.

#[path = "plans/drawing.rs"]
mod drawing;
#[path = "plans/persistent.rs"]
mod persistent;
mod support;

use std::collections::BTreeSet;

use gatewave::kernel::{Kernel, Loads, Mask, Medium, Storage};
use gatewave::layout::Layout;
use gatewave::plan::check::{check, covers};
use gatewave::plan::lower::lower;
use gatewave::plan::tune::{Target, Tuning};
use gatewave::plan::{Limits, Plan, Shape, SlotKind};
use gatewave::{
    Activation, Cell, Direction, Dropout, Embedding, Error, ErrorKind, Functions, Gru, Linear, Lstm, Merge, Model,
    OneHot, Padding, Recurrent, Reset, Rnn, Select, Strategy,
};
use support::golden;

fn plan_on(
    model: &Model,
    (time, batch, mask): (usize, usize, Mask),
    limits: &Limits,
    tuning: impl Into<Tuning>,
) -> Result<Plan, Error> {
    let tuning = tuning.into();
    let layout = Layout::of(model, Storage::F32).expect("the model is right").with_medium(tuning.medium());
    lower(model, &layout, Shape { time, batch, mask }, limits, &tuning)
}

/// The choices for `target` but for the strategy.
fn held_to(strategy: Strategy, target: Target) -> Tuning {
    Tuning::of(target).with_strategy(Some(strategy))
}

fn plan(model: &Model, shape: (usize, usize, Mask)) -> Plan {
    plan_on(model, shape, &Limits::WEBGPU, held_to(Strategy::Step, Target::Software)).expect("the plan fits")
}

/// Compares with `tests/golden/plans/NAME.txt`.
fn golden(name: &str, plan: &Plan) {
    golden::assert_file(&format!("tests/golden/plans/{name}.txt"), &plan.to_string());
}

fn steps(plan: &Plan, kernel: Kernel) -> usize {
    plan.steps.iter().filter(|step| plan.programs[step.program].kernel == kernel).count()
}

#[test]
fn golden_lstm() {
    golden("lstm", &plan(&Model::new().layer(Lstm::new(8, 16)), (3, 4, Mask::All)));
}

#[test]
fn golden_bidirectional_projected_stack_with_a_mask() {
    let model = Model::new().layer(Lstm::new(8, 20).num_layers(2).bidirectional().proj_size(5));
    golden("lstm_projected", &plan(&model, (3, 2, Mask::Live)));
}

#[test]
fn golden_classifier_on_gru_with_reset_before() {
    let model = Model::new()
        .layer(Embedding::new(30, 7))
        .layer(Gru::new(7, 16).cell(Cell::Gru(Reset::Before)))
        .layer(Select::FinalHidden)
        .layer(Linear::new(16, 3).activation(Activation::Softmax));
    golden("classifier", &plan(&model, (5, 2, Mask::Live)));
}

#[test]
fn golden_one_hot_becomes_rows_of_the_input_weights() {
    let model = Model::new()
        .layer(OneHot::new(100))
        .layer(Rnn::new(100, 8))
        .layer(Select::LastStep)
        .layer(Linear::new(8, 1).activation(Activation::Sigmoid));
    golden("one_hot", &plan(&model, (6, 2, Mask::All)));
}

#[test]
fn golden_long_stack_streams_in_chunks() {
    let model = Model::new().layer(Gru::new(8, 32).num_layers(2)).layer(Linear::new(32, 4));
    let small = Limits { binding_bytes: 28 << 10, ..Limits::WEBGPU };
    golden(
        "streamed",
        &plan_on(&model, (50, 2, Mask::All), &small, held_to(Strategy::Step, Target::Software)).expect("it streams"),
    );
}

#[test]
fn golden_reverse_layer_starts_past_its_outputs() {
    let model = Model::new().layer(Gru::new(8, 16).direction(Direction::Reverse));
    golden("reverse", &plan(&model, (3, 2, Mask::All)));
}

#[test]
fn golden_backwards_stack_holds_its_outputs_under_a_mask() {
    let stack = Lstm::new(8, 16).num_layers(2).direction(Direction::Backwards).padding(Padding::Held);
    golden("backwards_held", &plan(&Model::new().layer(stack), (3, 2, Mask::Live)));
}

#[test]
fn golden_merged_stack_gives_its_last_output_under_a_mask() {
    let stack = Gru::new(8, 16).num_layers(2).bidirectional().merge(Merge::Average).padding(Padding::Held);
    let model = Model::new().layer(stack).layer(Select::LastOutput).layer(Linear::new(16, 2));
    golden("merged_last_output", &plan(&model, (3, 2, Mask::Live)));
}

#[test]
fn golden_peepholes_are_a_row_after_the_bias() {
    let stack = Lstm::new(8, 20).peepholes().clip(0.6).coupled();
    golden("peepholes", &plan(&Model::new().layer(stack), (2, 2, Mask::All)));
}

#[test]
fn golden_directions_of_different_functions_go_apart() {
    let mut stack = Lstm::new(8, 16).bidirectional();
    let alpha = 0.3.into();
    stack.functions[1] = Functions { f: Activation::HardSigmoid { alpha, beta: 0.5.into() }, ..stack.functions[0] };
    golden("functions", &plan(&Model::new().layer(stack), (2, 2, Mask::Live)));
}

#[test]
fn golden_stack_goes_by_diagonals_on_a_gpu() {
    let model =
        Model::new().layer(Embedding::new(30, 7)).layer(Lstm::new(7, 16).num_layers(3)).layer(Linear::new(16, 2));
    let tuning = held_to(Strategy::Diagonal, Target::Gpu);
    golden("diagonal", &plan_on(&model, (4, 2, Mask::Live), &Limits::WEBGPU, tuning).expect("the plan fits"));
}

#[test]
fn golden_stack_goes_by_scans_where_its_weights_are_few() {
    let model = Model::new()
        .layer(Embedding::new(30, 7))
        .layer(Gru::new(7, 16).bidirectional())
        .layer(Lstm::new(32, 33))
        .layer(Linear::new(33, 2));
    for (name, target) in [("scan_gpu", Target::Gpu), ("scan_software", Target::Software)] {
        golden(name, &plan_on(&model, (40, 2, Mask::Live), &Limits::WEBGPU, target).expect("the plan fits"));
    }
}

#[test]
fn a_layer_of_few_weights_takes_a_dispatch_for_all_its_steps() {
    let on = |stack: Recurrent, (time, batch), tuning: Tuning| {
        let plan = plan_on(&Model::new().layer(stack), (time, batch, Mask::All), &Limits::WEBGPU, tuning);
        let plan = plan.expect("the plan fits");
        (steps(&plan, Kernel::Scan), plan.steps.len())
    };
    let by_scan = held_to(Strategy::Scan, Target::Software);
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After)] {
        for stack in [Recurrent::new(cell, 8, 16), Recurrent::new(cell, 8, 16).bidirectional()] {
            for target in [Target::Software, Target::Gpu] {
                assert_eq!(on(stack.clone(), (100, 8), target.into()), (1, 2));
                assert_eq!(on(stack.clone(), (1, 8), target.into()), (0, 2), "one step needs no scan");
            }
            assert_eq!(on(stack, (100, 8), Target::Host.into()), (0, 101));
        }
        assert_eq!(on(Recurrent::new(cell, 8, 16).num_layers(3), (100, 8), by_scan), (3, 6));
        assert_eq!(on(Recurrent::new(cell, 8, 512), (100, 8), Target::Gpu.into()), (0, 101));
        assert_eq!(
            on(Recurrent::new(cell, 8, 1024), (100, 1), by_scan),
            (1, 2),
            "as many as a workgroup has lanes for"
        );
        assert_eq!(on(Recurrent::new(cell, 8, 1025), (100, 1), by_scan), (0, 101));
    }
    assert_eq!(on(Lstm::new(8, 16).proj_size(5), (9, 1), by_scan), (0, 19), "a step of two products");
    assert_eq!(on(Gru::new(8, 16).cell(Cell::Gru(Reset::Before)), (9, 1), by_scan), (0, 19));
}

#[test]
fn both_directions_take_no_more_dispatches_than_one() {
    let stacks = [
        Lstm::new(8, 16),
        Lstm::new(8, 16).proj_size(5),
        Lstm::new(8, 16).peepholes(),
        Gru::new(8, 16),
        Gru::new(8, 16).cell(Cell::Gru(Reset::Before)),
        Rnn::new(8, 16),
    ];
    for (stack, mask) in stacks.into_iter().flat_map(|stack| [Mask::All, Mask::Live].map(|mask| (stack.clone(), mask)))
    {
        for tokens in [Some(Model::new().layer(Embedding::new(30, 8))), Some(Model::new().layer(OneHot::new(8))), None]
        {
            let dispatches = |stack: Recurrent| {
                let model = tokens.clone().unwrap_or_default().layer(stack);
                plan(&model, (7, 3, mask)).steps.len()
            };
            assert_eq!(dispatches(stack.clone().bidirectional()), dispatches(stack.clone()), "{stack:?}");
        }
    }
}

#[test]
fn a_stack_on_a_gpu_takes_a_dispatch_a_diagonal() {
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After)] {
        for (time, layers) in [(1, 2), (2, 4), (7, 3), (100, 2)] {
            let stacked = Model::new().layer(Recurrent::new(cell, 8, 130).num_layers(layers));
            let mut in_a_row = Model::new().layer(Recurrent::new(cell, 8, 130)).layer(Dropout::new(0.5));
            for _ in 1..layers {
                in_a_row = in_a_row.layer(Recurrent::new(cell, 130, 130));
            }
            for model in [stacked, in_a_row] {
                let on = |strategy, target| {
                    let layout = Layout::of(&model, Storage::F32).expect("the model is right");
                    let tuning = Tuning::of(target).with_strategy(strategy);
                    let shape = Shape { time, batch: 3, mask: Mask::All };
                    lower(&model, &layout, shape, &Limits::WEBGPU, &tuning).expect("the plan fits")
                };
                let diagonals = |plan: &Plan| steps(plan, Kernel::Diagonal);
                let by_itself = on(None, Target::Gpu);
                assert_eq!((diagonals(&by_itself), by_itself.steps.len()), (time + layers - 1, time + layers));
                for target in [Target::Host, Target::Software, Target::Gpu] {
                    assert_eq!(diagonals(&on(Some(Strategy::Diagonal), target)), time + layers - 1);
                    let by_steps = on(Some(Strategy::Step), target);
                    assert_eq!((diagonals(&by_steps), steps(&by_steps, Kernel::Step)), (0, time * layers));
                }
            }
        }
    }
}

#[test]
fn golden_software_gpu_with_subgroups() {
    let limits = Limits { subgroup_lanes: 8, binding_bytes: 16 << 10, ..Limits::WEBGPU };
    let model = Model::new().layer(Embedding::new(20, 8)).layer(Gru::new(8, 33)).layer(Linear::new(33, 3));
    golden(
        "software",
        &plan_on(&model, (2, 5, Mask::All), &limits, held_to(Strategy::Step, Target::Software)).expect("the plan fits"),
    );
    let step = |batch, limits: &Limits, target| {
        let plan =
            plan_on(&model, (2, batch, Mask::All), limits, held_to(Strategy::Step, target)).expect("the plan fits");
        let step = plan.programs.iter().find(|program| program.kernel == Kernel::Step).expect("a step");
        (step.tile.loads, step.medium)
    };
    assert_eq!(step(4, &limits, Target::Software), (Loads::Lane, Medium::Texture), "four rows need no sharing");
    let half = Limits { subgroup_lanes: 4, ..limits };
    assert_eq!(step(5, &half, Target::Software), (Loads::Lane, Medium::Texture), "a subgroup of four lacks lanes");
    let gpu = Limits { subgroup_lanes: 32, ..Limits::WEBGPU };
    assert_eq!(step(5, &gpu, Target::Gpu), (Loads::Lane, Medium::Buffer));
}

#[test]
fn a_texture_is_bound_whole_and_holds_no_table_and_no_matrix_past_its_rows() {
    let mut plan = plan(&Model::new().layer(Lstm::new(8, 33)), (2, 1, Mask::All));
    plan.steps[0].windows[0].bytes -= 256;
    let error = check(&plan, &Limits::WEBGPU).expect_err("a part of a texture");
    assert!(error.to_string().contains(" bytes as a texture, which is bound whole"), "{error}");
    let media = |model: Model| {
        let layout = Layout::of(&model, Storage::F32).expect("the model is right").with_medium(Medium::Texture);
        (0..layout.buffers.len()).map(|buffer| layout.medium_of(buffer)).collect::<Vec<_>>()
    };
    let tokens = Model::new().layer(Embedding::new(9, 70_000)).layer(Linear::new(70_000, 400));
    assert_eq!(media(tokens), [Medium::Buffer, Medium::Texture]);
    assert_eq!(media(Model::new().layer(Linear::new(70_000, 500))), [Medium::Buffer], "143 MB");
}

#[test]
fn what_a_launch_is_no_great_part_of_goes_layer_by_layer() {
    let on =
        |model: Model, batch| plan_on(&model, (3, batch, Mask::All), &Limits::WEBGPU, Target::Gpu).expect("it fits");
    let large = Model::new().layer(Lstm::new(64, 512).num_layers(3));
    assert_eq!(steps(&on(large.clone(), 64), Kernel::Diagonal), 5);
    assert_eq!(steps(&on(large, 65), Kernel::Diagonal), 0);
    let unequal = Model::new().layer(Gru::new(8, 128)).layer(Gru::new(128, 129)).layer(Gru::new(129, 129));
    assert_eq!(steps(&on(unequal, 1), Kernel::Diagonal), 4, "the last two");
    let apart = Model::new().layer(Gru::new(8, 128)).layer(Activation::Tanh).layer(Gru::new(128, 128));
    assert_eq!(steps(&on(apart, 1), Kernel::Diagonal), 0);
}

/// What a row of a layer's states holds: the state after so many of its steps.
type Held = Option<(usize, usize)>;

#[test]
fn each_layer_of_a_diagonal_reads_what_it_and_the_one_below_left() {
    let narrow = Limits { binding_bytes: 48 << 10, ..Limits::WEBGPU };
    for (layers, select) in
        (2..6).flat_map(|l| [None, Some(Select::LastStep), Some(Select::FinalHidden)].map(|s| (l, s)))
    {
        for (time, limits) in [(1, Limits::WEBGPU), (9, Limits::WEBGPU), (9, narrow), (203, narrow)] {
            let stack = Model::new().layer(Lstm::new(8, 16).num_layers(layers));
            for model in
                [select.map_or(stack.clone(), |select| stack.clone().layer(select)), stack.layer(Linear::new(16, 3))]
            {
                let tuning = held_to(Strategy::Diagonal, Target::Gpu);
                let plan = plan_on(&model, (time, 2, Mask::Live), &limits, tuning).expect("it fits");
                follow(&plan, layers);
            }
        }
    }
}

/// Runs the diagonals of a plan on names of states.
fn follow(plan: &Plan, layers: usize) {
    let (time, mut states) = (plan.shape.time, vec![Held::None; 2 * layers]);
    (0..layers).for_each(|layer| states[2 * layer] = Some((layer, 0)));
    let (mut hoisted, mut outputs) = (vec![usize::MAX; time], vec![usize::MAX; time]);
    for step in &plan.steps {
        let (program, p) = (&plan.programs[step.program], &plan.params[step.params]);
        let row = |window: usize, row: u32| {
            let window = step.windows[window];
            let row_elems: usize = plan.slots[window.slot].dims[1..].iter().product();
            usize::try_from(window.offset).expect("a small plan") / (4 * row_elems) + row as usize
        };
        if program.kernel == Kernel::Project
            && step.windows[0].slot != plan.steps.last().expect("a plan has steps").windows[0].slot
        {
            (0..p.rows as usize / 2).for_each(|n| hoisted[p.target_0 as usize / 2 + n] = row(1, p.source_0 / 2) + n);
        }
        if program.kernel != Kernel::Diagonal {
            continue;
        }
        let before = states.clone();
        for z in 0..step.grid[2] {
            let layer = (p.direction + z) as usize;
            let place = |row: u32| 2 * layer + (row as usize + layer) % 2;
            let (own, t) = before[place(p.memory_in)].expect("a state is there");
            assert_eq!(own, layer);
            if layer == 0 {
                assert_eq!(hoisted[p.gates_0 as usize], t, "{plan}");
            } else {
                let below = 2 * (layer - 1) + (p.memory_in as usize + layer - 1) % 2;
                assert_eq!(before[below], Some((layer - 1, t + 1)), "{plan}");
            }
            assert_eq!((p.live_0 - z) as usize, t, "{plan}");
            assert_eq!(p.weight_panel + z * p.weight_panels, 2 * (p.direction + z) * p.panels);
            states[place(p.memory_out)] = Some((layer, t + 1));
            if layer + 1 == layers {
                let rows = plan.slots[step.windows[5].slot].dims[0];
                assert_eq!(row(5, p.target_0) % rows, t % rows, "{plan}");
                outputs[t] = t;
            }
        }
    }
    assert!(outputs.iter().enumerate().all(|(t, &output)| t == output), "{outputs:?}");
    assert!((0..layers).all(|layer| states[2 * layer + time % 2] == Some((layer, time))));
}

#[test]
fn both_directions_share_a_dispatch() {
    let one = plan(&Model::new().layer(Lstm::new(8, 16)), (7, 3, Mask::All));
    let both = plan(&Model::new().layer(Lstm::new(8, 16).bidirectional()), (7, 3, Mask::All));
    assert_eq!(steps(&one, Kernel::Step), 7);
    assert_eq!(steps(&both, Kernel::Step), 7);
    assert_eq!(steps(&both, Kernel::Project), 1);
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
        "0.w_x.0: needs a buffer of 266240 bytes, the device's largest is 100000; try 16-bit weights (--precision f16), \
         which take half as much, or another device"
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
    for (model, limits) in models.iter().flat_map(|model| [(model, Limits::WEBGPU), (model, Limits::HOST)]) {
        for (time, batch) in sizes.into_iter().flat_map(|time| sizes.map(|batch| (time, batch))) {
            for mask in [Mask::All, Mask::Live] {
                match plan_on(model, (time, batch, mask), &limits, Target::Host) {
                    Ok(plan) => assert!(plan.steps.len() <= 1 << 22),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Limits, "{error}"),
                }
            }
        }
    }
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
    let error = Layout::of(&model, Storage::F32).expect_err("too many layers");
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
        .filter(|step| plan.programs[step.program].kernel == Kernel::Project)
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
fn check_refuses_what_lower_would_never_do() {
    let model = Model::new().layer(Lstm::new(8, 32).bidirectional());
    let right = plan(&model, (4, 3, Mask::Live));
    let breaks: [(&str, Fault); 9] = [
        ("a row past the state", |p| p.params[1].target_0 = 99),
        ("a grid past the limit", |p| p.steps[1].grid[0] = 70_000),
        ("an empty grid", |p| p.steps[1].grid[2] = 0),
        ("a direction that no row has", |p| p.params[1].directions = 1),
        ("a slot bound twice", |p| p.steps[1].windows[1] = p.steps[1].windows[0]),
        ("an unaligned window", |p| p.steps[1].windows[0].offset = 4),
        ("a window past the slot", |p| p.steps[1].windows[0].bytes += 256),
        ("a missing window", |p| p.steps[1].windows.truncate(1)),
        ("a slot read before it is written", |p| p.writes.clear()),
    ];
    for (what, break_it) in breaks {
        let mut plan = right.clone();
        break_it(&mut plan);
        let error = check(&plan, &Limits::WEBGPU).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Limits, "{what}");
    }
}

#[test]
fn every_plan_covers_its_rows_within_any_limits() {
    let cells = Cell::ALL;
    let mut seen = 0;
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
                        // `lower` checks what it returns; a refusal must be of kind Limits.
                        match plan_on(&model, (time, batch, mask), &limits, target) {
                            Ok(plan) => {
                                seen += 1;
                                assert!(plan.steps.iter().all(|step| covers(&plan, step)), "{plan}");
                                kernels.extend(plan.programs.iter().map(|program| program.kernel));
                            }
                            Err(error) => assert_eq!(error.kind(), ErrorKind::Limits, "{error}"),
                        }
                    }
                }
            }
        }
    }
    assert!(seen > 2_000, "only {seen} plans");
    assert!(kernels.len() >= 8, "only {kernels:?}");
}
