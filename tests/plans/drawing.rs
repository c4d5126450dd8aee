//! Plans that draw tokens: each step takes the token that was drawn before it.

use gatewave::inspect::kernel::Params;
use gatewave::inspect::plan::lower::{lower_beginnings, lower_drawing, lower_frames};
use gatewave::inspect::plan::{Feed, Fetch};
use gatewave::interface::State;
use gatewave::layer::Join;

use super::*;

fn drawing_on(model: &Model, shape: (usize, usize, Mask), limits: &Limits, target: Target) -> Result<Plan, Error> {
    let layout = Layout::of(model, Precision::F32).expect("the model is right");
    let (time, batch, mask) = shape;
    lower_drawing(model, &layout, (Shape::new(time, batch, mask), 0), limits, &Tuning::of(target))
}

fn text_model() -> Model {
    Model::new()
        .layer(Embedding::new(65, 7))
        .layer(Lstm::new(7, 16).num_layers(2))
        .layer(Linear::new(16, 65).activation(Activation::Softmax))
}

#[test]
fn golden_tokens_are_drawn_one_after_the_other() {
    let plan = drawing_on(&text_model(), (6, 2, Mask::Live), &Limits::WEBGPU, Target::Gpu).expect("it fits");
    assert_golden("drawn", &plan);
}

#[test]
fn golden_one_hot_tokens_are_drawn_where_the_time_axis_is_gone() {
    let model = Model::new()
        .layer(OneHot::new(20))
        .layer(Linear::new(20, 8))
        .layer(Gru::new(8, 16))
        .layer(Activation::Tanh)
        .layer(Select::FinalHidden)
        .layer(Linear::new(16, 20));
    assert_golden(
        "drawn_one_hot",
        &drawing_on(&model, (3, 1, Mask::All), &Limits::WEBGPU, Target::Software).expect("it fits"),
    );
}

/// The first token that each dispatch of `kernel` reads or writes.
fn tokens_of(plan: &Plan, kernel: Kernel) -> Vec<u32> {
    let steps = plan.steps.iter().filter(|step| plan.programs[step.program].kernel() == kernel);
    let params = steps.map(|step| plan.params[step.params]);
    params.map(|p| if kernel == Kernel::Sample { p.target_0 } else { p.source_0 }).collect()
}

#[test]
fn each_step_takes_the_token_that_was_drawn_before_it() {
    for (model, kernel) in [
        (text_model(), Kernel::Gather),
        (Model::new().layer(OneHot::new(9)).layer(Linear::new(9, 9)), Kernel::OneHot),
        (Model::new().layer(Embedding::new(9, 9)), Kernel::Gather),
    ] {
        for (time, batch) in [(1, 1), (4, 3), (5, 1), (33, 2)] {
            for target in [Target::Host, Target::Software, Target::Gpu] {
                let plan = drawing_on(&model, (time, batch, Mask::Live), &Limits::WEBGPU, target).expect("it fits");
                let rows = |first: usize| {
                    (first..first + time).map(|row| u32::try_from(row * batch).unwrap()).collect::<Vec<_>>()
                };
                assert_eq!(tokens_of(&plan, kernel), rows(0), "{plan}");
                assert_eq!(tokens_of(&plan, Kernel::Sample), rows(1), "{plan}");
                assert!(plan.steps.iter().all(|step| covers(&plan, step)), "{plan}");
                let tokens =
                    plan.writes.iter().find(|write| write.feed == Feed::Tokens).expect("the first are written");
                let read = plan.reads.iter().find(|read| read.fetch == Fetch::Tokens).expect("the others are read");
                assert_eq!((tokens.offset, tokens.bytes), (0, 4 * batch as u64));
                assert_eq!(
                    (read.slot, read.offset, read.bytes),
                    (tokens.slot, tokens.bytes, (time * 4 * batch) as u64)
                );
            }
        }
    }
}

/// A row that begins a stack, one that is combined with each step, two stacks side by side, two outputs.
fn graph() -> Model {
    let mut g = Model::graph();
    let (facts, text) = (g.row("facts", 20), g.tokens("text", 65));
    let known = g.add("known", Linear::new(20, 5), facts);
    let vectors = g.add("vectors", Embedding::new(65, 7), text);
    let joined = g.add("joined", Join::Concat, [vectors, known]);
    let one = g.add("one", Lstm::new(12, 16), joined);
    let two = g.add("two", Gru::new(12, 20), joined);
    g.begin(two, State::Hidden, facts);
    let both = g.add("both", Join::Concat, [one, two]);
    let next = g.add("next", Linear::new(36, 65).activation(Activation::Softmax), both);
    let score = g.add("score", Linear::new(16, 1), one.final_hidden());
    g.output("score", score);
    g.output("next", next);
    g.finish().expect("the model is right")
}

#[test]
fn what_knows_no_token_is_computed_once_and_what_nobody_draws_from_never() {
    let model = graph();
    let layout = Layout::of(&model, Precision::F32).expect("the model is right");
    for target in [Target::Host, Target::Software, Target::Gpu] {
        for time in [1, 6, 33] {
            let (shape, tuning) = (Shape::new(time, 3, Mask::Live), Tuning::of(target));
            let plan = lower_drawing(&model, &layout, (shape, 1), &Limits::WEBGPU, &tuning).expect("it fits");
            let count = |kernel: Kernel| {
                plan.steps.iter().filter(|step| plan.programs[step.program].kernel() == kernel).count()
            };
            // The products of each step: of two stacks, and of the logits; and that of the row.
            assert_eq!((count(Kernel::Sample), count(Kernel::Gemm)), (time, 3 * time + 1), "{plan}");
            assert!(plan.steps.iter().all(|step| covers(&plan, step)), "{plan}");
            assert_eq!(plan.states().count(), 3, "those of all stacks");
        }
    }
    let frames = lower_frames(&model, &layout, Shape::new(5, 3, Mask::All), &Limits::WEBGPU, &Tuning::of(Target::Gpu));
    let frames = frames.expect("it fits");
    let states = |plan: &Plan| plan.states().map(|(write, _)| write.feed).collect::<Vec<_>>();
    let drawn =
        lower_drawing(&model, &layout, (Shape::new(5, 3, Mask::All), 1), &Limits::WEBGPU, &Tuning::of(Target::Gpu));
    assert_eq!(states(&frames), states(&drawn.expect("it fits")), "what streams keep is the same");
    let begun =
        lower_beginnings(&model, &layout, Shape::new(1, 3, Mask::All), &Limits::WEBGPU, &Tuning::of(Target::Gpu));
    let begun = begun.expect("it fits");
    let feeds: Vec<_> = begun.writes.iter().map(|write| write.feed).collect();
    assert_eq!((feeds, begun.reads.len(), begun.steps.len()), (vec![Feed::Other(0)], 1, 1), "{begun}");
}

#[test]
fn scratch_does_not_grow_with_the_steps_that_are_drawn() {
    let scratch = |time| {
        let plan = drawing_on(&text_model(), (time, 3, Mask::All), &Limits::WEBGPU, Target::Software).expect("it fits");
        plan.bytes(|kind| matches!(kind, SlotKind::Scratch | SlotKind::Output))
    };
    assert_eq!(scratch(5), scratch(5_000));
}

#[test]
fn a_narrow_device_draws_in_pieces() {
    let narrow = Limits { binding_bytes: 16 << 10, workgroups: 2, ..Limits::WEBGPU };
    let model = Model::new().layer(Embedding::new(300, 40)).layer(Linear::new(40, 300));
    let plan = drawing_on(&model, (2, 5, Mask::All), &narrow, Target::Gpu).expect("it fits");
    assert_eq!(tokens_of(&plan, Kernel::Sample), [5, 7, 9, 10, 12, 14]);
    assert!(plan.steps.iter().all(|step| covers(&plan, step)), "{plan}");
    let vast = Model::new().layer(OneHot::new(2_000_000));
    let error = drawing_on(&vast, (1, 1, Mask::All), &Limits::WEBGPU, Target::Gpu).expect_err("too many tokens");
    assert_eq!(error.kind(), ErrorKind::Limits);
    assert!(error.to_string().contains("features are too many for it"), "{error}");
}

type Fault = fn(&mut Params);

#[test]
fn a_draw_past_its_tokens_is_malformed() {
    let right = drawing_on(&text_model(), (3, 2, Mask::All), &Limits::WEBGPU, Target::Gpu).expect("it fits");
    let sample =
        right.steps.iter().position(|step| right.programs[step.program].kernel() == Kernel::Sample).expect("one");
    let params = right.steps[sample].params;
    let faults: [(&str, Fault); 3] = [
        ("a token past the last", |p| p.target_0 = 7),
        ("more rows than there are draws", |p| p.batch = 3),
        ("a row of logits past the last", |p| p.source_0 = 9),
    ];
    for (what, fault) in faults {
        let mut plan = right.clone();
        fault(&mut plan.params[params]);
        let violation = check(&plan, &Limits::WEBGPU).expect_err(what);
        assert!(matches!(violation, Violation::Malformed(_)), "{what}: {violation}");
    }
}
