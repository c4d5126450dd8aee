//! How layers go through time: how many dispatches each strategy takes, and what each of them reads.

use super::*;
use crate::support::work_list::work_list;

#[test]
fn a_layer_of_few_weights_takes_a_dispatch_for_all_its_steps() {
    let on = |stack: Recurrent, (time, batch), tuning: Tuning| {
        let plan = plan_on(&Model::new().layer(stack), (time, batch, Mask::All), &Limits::WEBGPU, tuning);
        let plan = plan.expect("the plan fits");
        (steps(&plan, Kernel::Scan), plan.steps.len())
    };
    let by_scan = fixed_to(Strategy::Scan, Target::Software);
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
fn a_software_gpu_of_wide_subgroups_scans_larger_layers() {
    let scans = |units: usize, batch: usize, subgroup_lanes: u32| {
        let (model, limits) = (Model::new().layer(Lstm::new(8, units)), Limits { subgroup_lanes, ..Limits::WEBGPU });
        let plan = plan_on(&model, (9, batch, Mask::All), &limits, Target::Software).expect("the plan fits");
        steps(&plan, Kernel::Scan) == 1
    };
    // An LSTM of 64 units has 16,384 weights; one of 192 has 147,456, which count twice at batch 2.
    assert_eq!([(64, 1), (64, 2), (128, 1), (192, 2)].map(|(units, batch)| scans(units, batch, 8)), [true; 4]);
    assert_eq!(
        [(64, 1), (64, 2), (128, 1), (192, 2)].map(|(units, batch)| scans(units, batch, 4)),
        [true, false, false, false]
    );
    assert_eq!([(192, 3), (208, 1), (64, 32)].map(|(units, batch)| scans(units, batch, 8)), [false; 3]);
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

/// For every forward shape of the work list: the steps that must
/// follow each other. Products of its chunks come in addition.
#[test]
fn no_forward_stack_of_the_work_list_takes_more_than_its_wavefronts_on_a_gpu() {
    let mut seen = 0;
    for (id, model, Shape { time, batch, mask, .. }) in work_list() {
        let stack = model.stacks().next().expect("a shape is a stack");
        if stack.direction != Direction::Forward {
            continue;
        }
        let plan = plan_on(&model, (time, batch, mask), &Limits::WEBGPU, Target::Gpu).expect("it fits");
        let products = steps(&plan, Kernel::Gemm);
        assert!(plan.steps.len() - products < time + stack.num_layers, "{id}: {}", plan.steps.len());
        assert!(products <= time.div_ceil(16), "{id}: {products} products");
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn a_stack_on_a_gpu_takes_a_dispatch_a_wavefront() {
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After)] {
        for (time, layers) in [(1, 2), (2, 4), (7, 3), (100, 2)] {
            let stacked = Model::new().layer(Recurrent::new(cell, 8, 130).num_layers(layers));
            let mut in_a_row = Model::new().layer(Recurrent::new(cell, 8, 130)).layer(Dropout::new(0.5));
            for _ in 1..layers {
                in_a_row = in_a_row.layer(Recurrent::new(cell, 130, 130));
            }
            for model in [stacked, in_a_row] {
                let on = |strategy, target| {
                    let layout = Layout::of(&model, Precision::F32).expect("the model is right");
                    let tuning = Tuning::of(target).with_strategy(strategy);
                    let shape = Shape::new(time, 3, Mask::All);
                    lower(&model, &layout, shape, &Limits::WEBGPU, &tuning).expect("the plan fits")
                };
                let wavefronts = |plan: &Plan| steps(plan, Kernel::Wavefront);
                let by_itself = on(None, Target::Gpu);
                assert_eq!((wavefronts(&by_itself), by_itself.steps.len()), (time + layers - 1, time + layers));
                for target in [Target::Host, Target::Software, Target::Gpu] {
                    assert_eq!(wavefronts(&on(Some(Strategy::Wavefront), target)), time + layers - 1);
                    let by_steps = on(Some(Strategy::Step), target);
                    assert_eq!((wavefronts(&by_steps), steps(&by_steps, Kernel::Step)), (0, time * layers));
                }
            }
        }
    }
}

#[test]
fn what_a_launch_is_no_great_part_of_goes_layer_by_layer() {
    let on =
        |model: Model, batch| plan_on(&model, (3, batch, Mask::All), &Limits::WEBGPU, Target::Gpu).expect("it fits");
    let large = Model::new().layer(Lstm::new(64, 512).num_layers(3));
    assert_eq!(steps(&on(large.clone(), 64), Kernel::Wavefront), 5);
    assert_eq!(steps(&on(large, 65), Kernel::Wavefront), 0);
    let unequal = Model::new().layer(Gru::new(8, 128)).layer(Gru::new(128, 129)).layer(Gru::new(129, 129));
    assert_eq!(steps(&on(unequal, 1), Kernel::Wavefront), 4, "the last two");
    let apart = Model::new().layer(Gru::new(8, 128)).layer(Activation::Tanh).layer(Gru::new(128, 128));
    assert_eq!(steps(&on(apart, 1), Kernel::Wavefront), 0);
}

/// The contents of a row of a layer's states: the layer, and the number of its steps so far.
type Held = Option<(usize, usize)>;

#[test]
fn each_layer_of_a_wavefront_reads_what_it_and_the_one_below_left() {
    let narrow = Limits { binding_bytes: 48 << 10, ..Limits::WEBGPU };
    for (layers, select) in
        (2..6).flat_map(|l| [None, Some(Select::LastStep), Some(Select::FinalHidden)].map(|s| (l, s)))
    {
        for (time, limits) in [(1, Limits::WEBGPU), (9, Limits::WEBGPU), (9, narrow), (203, narrow)] {
            let stack = Model::new().layer(Lstm::new(8, 16).num_layers(layers));
            for model in
                [select.map_or(stack.clone(), |select| stack.clone().layer(select)), stack.layer(Linear::new(16, 3))]
            {
                let tuning = fixed_to(Strategy::Wavefront, Target::Gpu);
                let plan = plan_on(&model, (time, 2, Mask::Live), &limits, tuning).expect("it fits");
                follow(&plan, layers);
            }
        }
    }
}

/// Runs the wavefronts of a plan symbolically.
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
        if program.kernel() == Kernel::Gemm
            && step.windows[0].slot != plan.steps.last().expect("a plan has steps").windows[0].slot
        {
            (0..p.rows as usize / 2).for_each(|n| hoisted[p.target_0 as usize / 2 + n] = row(1, p.source_0 / 2) + n);
        }
        if program.kernel() != Kernel::Wavefront {
            continue;
        }
        let before = states.clone();
        for z in 0..step.grid[2] {
            let layer = (p.direction + z) as usize;
            let place = |row: u32| 2 * layer + (row as usize + layer) % 2;
            let (own, t) = before[place(p.cell_in)].expect("a state is there");
            assert_eq!(own, layer);
            if layer == 0 {
                assert_eq!(hoisted[p.gates_0 as usize], t, "{plan}");
            } else {
                let below = 2 * (layer - 1) + (p.cell_in as usize + layer - 1) % 2;
                assert_eq!(before[below], Some((layer - 1, t + 1)), "{plan}");
            }
            assert_eq!((p.live_0 - z) as usize, t, "{plan}");
            assert_eq!(p.weight_panel + z * p.weight_panels, 2 * (p.direction + z) * p.panels);
            states[place(p.cell_out)] = Some((layer, t + 1));
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
    assert_eq!(steps(&both, Kernel::Gemm), 1);
}
