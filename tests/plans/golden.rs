//! The texts of plans, as `gatewave plan` prints them.

use super::*;

#[test]
fn golden_lstm() {
    assert_golden("lstm", &plan(&Model::new().layer(Lstm::new(8, 16)), (3, 4, Mask::All)));
}

#[test]
fn golden_bidirectional_projected_stack_with_a_mask() {
    let model = Model::new().layer(Lstm::new(8, 20).num_layers(2).bidirectional().proj_size(5));
    assert_golden("lstm_projected", &plan(&model, (3, 2, Mask::Live)));
}

#[test]
fn golden_classifier_on_gru_with_reset_before() {
    let model = Model::new()
        .layer(Embedding::new(30, 7))
        .layer(Gru::new(7, 16).cell(Cell::Gru(Reset::Before)))
        .layer(Select::FinalHidden)
        .layer(Linear::new(16, 3).activation(Activation::Softmax));
    assert_golden("classifier", &plan(&model, (5, 2, Mask::Live)));
}

#[test]
fn golden_one_hot_becomes_rows_of_the_input_weights() {
    let model = Model::new()
        .layer(OneHot::new(100))
        .layer(Rnn::new(100, 8))
        .layer(Select::LastStep)
        .layer(Linear::new(8, 1).activation(Activation::Sigmoid));
    assert_golden("one_hot", &plan(&model, (6, 2, Mask::All)));
}

#[test]
fn golden_parts_of_a_concatenation_are_written_in_place() {
    let mut g = Model::graph();
    let x = g.sequence("x", 8);
    let left = g.add("left", Linear::new(8, 16), x);
    let right = g.add("right", Linear::new(8, 20), x);
    let joined = g.add("joined", Join::Concat, [left, right]);
    g.add("lstm", Lstm::new(36, 16), joined);
    assert_golden("concatenated", &plan(&g.finish().expect("the model is right"), (3, 2, Mask::All)));
}

#[test]
fn golden_long_stack_streams_in_chunks() {
    let model = Model::new().layer(Gru::new(8, 32).num_layers(2)).layer(Linear::new(32, 4));
    let small = Limits { binding_bytes: 28 << 10, ..Limits::WEBGPU };
    assert_golden(
        "streamed",
        &plan_on(&model, (50, 2, Mask::All), &small, fixed_to(Strategy::Step, Target::Software)).expect("it streams"),
    );
}

#[test]
fn golden_reverse_layer_starts_past_its_outputs() {
    let model = Model::new().layer(Gru::new(8, 16).direction(Direction::Reverse));
    assert_golden("reverse", &plan(&model, (3, 2, Mask::All)));
}

#[test]
fn golden_backwards_stack_holds_its_outputs_under_a_mask() {
    let stack = Lstm::new(8, 16).num_layers(2).direction(Direction::Backwards).padding(Padding::Held);
    assert_golden("backwards_held", &plan(&Model::new().layer(stack), (3, 2, Mask::Live)));
}

#[test]
fn golden_merged_stack_gives_its_last_output_under_a_mask() {
    let stack = Gru::new(8, 16).num_layers(2).bidirectional().merge(Merge::Average).padding(Padding::Held);
    let model = Model::new().layer(stack).layer(Select::LastOutput).layer(Linear::new(16, 2));
    assert_golden("merged_last_output", &plan(&model, (3, 2, Mask::Live)));
}

#[test]
fn golden_peepholes_are_a_row_after_the_bias() {
    let stack = Lstm::new(8, 20).peepholes().clip(0.6).coupled();
    assert_golden("peepholes", &plan(&Model::new().layer(stack), (2, 2, Mask::All)));
}

#[test]
fn golden_directions_of_different_functions_go_apart() {
    let mut stack = Lstm::new(8, 16).bidirectional();
    let alpha = 0.3.into();
    stack.functions[1] = Functions { f: Activation::HardSigmoid { alpha, beta: 0.5.into() }, ..stack.functions[0] };
    assert_golden("functions", &plan(&Model::new().layer(stack), (2, 2, Mask::Live)));
}

#[test]
fn golden_stack_goes_by_wavefronts_on_a_gpu() {
    let model =
        Model::new().layer(Embedding::new(30, 7)).layer(Lstm::new(7, 16).num_layers(3)).layer(Linear::new(16, 2));
    let tuning = fixed_to(Strategy::Wavefront, Target::Gpu);
    assert_golden("wavefront", &plan_on(&model, (4, 2, Mask::Live), &Limits::WEBGPU, tuning).expect("the plan fits"));
}

#[test]
fn golden_stack_goes_by_scans_where_its_weights_are_few() {
    let model = Model::new()
        .layer(Embedding::new(30, 7))
        .layer(Gru::new(7, 16).bidirectional())
        .layer(Lstm::new(32, 33))
        .layer(Linear::new(33, 2));
    let wide = Limits { subgroup_lanes: 8, ..Limits::WEBGPU };
    for (name, target, limits) in [
        ("scan_gpu", Target::Gpu, &Limits::WEBGPU),
        ("scan_software", Target::Software, &Limits::WEBGPU),
        ("scan_software_wide", Target::Software, &wide),
    ] {
        assert_golden(name, &plan_on(&model, (40, 2, Mask::Live), limits, target).expect("the plan fits"));
    }
}

#[test]
fn golden_software_gpu_with_subgroups() {
    let limits = Limits { subgroup_lanes: 8, binding_bytes: 16 << 10, ..Limits::WEBGPU };
    let model = Model::new().layer(Embedding::new(20, 8)).layer(Gru::new(8, 33)).layer(Linear::new(33, 3));
    assert_golden(
        "software",
        &plan_on(&model, (2, 5, Mask::All), &limits, fixed_to(Strategy::Step, Target::Software))
            .expect("the plan fits"),
    );
    let step = |batch, limits: &Limits, target| {
        let plan =
            plan_on(&model, (2, batch, Mask::All), limits, fixed_to(Strategy::Step, target)).expect("the plan fits");
        let step = plan.programs.iter().find(|program| program.kernel() == Kernel::Step).expect("a step");
        (step.tile().expect("a tile").loads, step.matrix().expect("a matrix").medium)
    };
    assert_eq!(step(4, &limits, Target::Software), (Loads::Lane, Medium::Texture), "four rows need no sharing");
    let half = Limits { subgroup_lanes: 4, ..limits };
    assert_eq!(step(5, &half, Target::Software), (Loads::Lane, Medium::Texture), "a subgroup of four lacks lanes");
    let gpu = Limits { subgroup_lanes: 32, ..Limits::WEBGPU };
    assert_eq!(step(5, &gpu, Target::Gpu), (Loads::Lane, Medium::Buffer));
}
