//! Drafts of descriptions: what names and shapes show, and what the notes say that they do not show.

use gatewave::formats::{self, Draft, description, safetensors};
use gatewave::interface::Axes;
use gatewave::layer::{Bias, Direction, Layer, LayerKind, LayerNorm, Recurrent};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{ErrorKind, Gru, Linear, Lstm, Model, Rnn, Select, Weights};

use crate::support::fixtures;

/// Tensors of these names and shapes.
fn shaped(shapes: &[(&str, &[usize])]) -> Tensors {
    let mut tensors = Tensors::new();
    for &(name, shape) in shapes {
        tensors.insert(name, Tensor::new(shape, vec![0.5; shape.iter().product()]));
    }
    tensors
}

fn draft(shapes: &[(&str, &[usize])]) -> Draft {
    let tensors = shaped(shapes);
    let draft = formats::describe(&tensors).expect("a draft");
    // The draft describes the model, and all placed tensors are read.
    assert_eq!(description::from_json(&draft.json, &tensors).expect("a description"), draft.model);
    assert!(Weights::from_tensors(&draft.model, tensors).is_ok());
    draft
}

fn has_note(draft: &Draft, words: &str) -> bool {
    draft.notes.iter().any(|note| note.contains(words))
}

fn stack_of(layer: &mut Layer) -> Option<&mut Recurrent> {
    match &mut layer.kind {
        LayerKind::Recurrent(stack) => Some(stack),
        _ => None,
    }
}

/// Returns `model` with the options of the draft wherever a note says
/// that they are assumed. Panics if another difference has no note.
fn as_assumed(model: Model, draft: &Draft, id: &str) -> Model {
    let noted = |words: &str| assert!(has_note(draft, words), "{id}: no note has {words}: {:?}", draft.notes);
    let mut model = model;
    if model.axes != draft.model.axes {
        noted("batch_first");
        model.axes = draft.model.axes;
    }
    // The draft has its own selections.
    let is_select = |layer: &Layer| matches!(layer.kind, LayerKind::Select(_));
    let selects = |model: &Model| -> Vec<_> {
        let kinds = model.layers.iter().map(|layer| layer.kind.clone());
        kinds.filter(|kind| matches!(kind, LayerKind::Select(select) if *select != Select::AllSteps)).collect()
    };
    if selects(&model) != selects(&draft.model) {
        noted("final_hidden");
    }
    let mut own = Model::new();
    own.axes = model.axes;
    for layer in model.layers.into_iter().filter(|layer| !is_select(layer)) {
        own = own.named_layer(layer.prefix, layer.kind);
    }
    let mut drafted = draft.model.layers.iter().filter(|layer| !is_select(layer));
    for layer in &mut own.layers {
        let there = drafted.next().unwrap_or_else(|| panic!("{id}: the draft lacks {layer:?}"));
        match (&mut layer.kind, &there.kind) {
            (LayerKind::Embedding(table), LayerKind::Embedding(other)) if table.padding_idx != other.padding_idx => {
                noted("padding_idx");
                table.padding_idx = other.padding_idx;
            }
            (LayerKind::Linear(linear), LayerKind::Linear(other)) if linear.activation != other.activation => {
                noted("activation");
                linear.activation = other.activation;
            }
            _ => {}
        }
        if let (Some(stack), LayerKind::Recurrent(other)) = (stack_of(layer), &there.kind)
            && stack.functions != other.functions
        {
            noted("nonlinearity");
            stack.functions = other.functions;
        }
    }
    own
}

#[test]
fn the_draft_of_every_state_dict_of_pytorch_is_its_model_but_for_what_the_notes_name() {
    for fixture in fixtures::all() {
        let tensors = safetensors::read(&fixture.weights).expect("a file of tensors").tensors;
        let wanted = description::from_json(&fixture.description_json, &tensors).expect("a description");
        let draft = formats::describe(&tensors).unwrap_or_else(|e| panic!("{}: {e}", fixture.id));
        assert!(draft.unplaced.is_empty(), "{}: {:?}", fixture.id, draft.unplaced);
        let read = description::from_json(&draft.json, &tensors).unwrap_or_else(|e| panic!("{}: {e}", fixture.id));
        assert_eq!(read, draft.model, "{}", fixture.id);
        assert_eq!(draft.model.parameters(), fixture.params, "{}", fixture.id);
        let kept = |model: &Model| {
            let layers = model.layers.iter().filter(|layer| !matches!(layer.kind, LayerKind::Select(_)));
            layers.map(|layer| (layer.prefix.clone(), layer.kind.clone())).collect::<Vec<_>>()
        };
        assert_eq!(kept(&as_assumed(wanted, &draft, &fixture.id)), kept(&draft.model), "{}", fixture.id);
        Weights::from_tensors(&draft.model, tensors).unwrap_or_else(|e| panic!("{}: {e}", fixture.id));
    }
}

#[test]
fn layers_stand_in_the_order_of_their_sizes_and_not_of_their_names() {
    let drafted = draft(&[
        ("a_head.weight", &[9, 12]),
        ("a_head.bias", &[9]),
        ("encoder.weight_ih_l0", &[18, 5]),
        ("encoder.weight_hh_l0", &[18, 6]),
        ("encoder.weight_ih_l0_reverse", &[18, 5]),
        ("encoder.weight_hh_l0_reverse", &[18, 6]),
        ("z_words.weight", &[9, 5]),
    ]);
    let wanted = Model::new()
        .named_layer("z_words.", gatewave::Embedding::new(9, 5))
        .named_layer("encoder.", Gru::new(5, 6).bias(Bias::None).bidirectional())
        .named_layer("a_head.", Linear::new(12, 9));
    assert_eq!(drafted.model, wanted);
    assert!(has_note(&drafted, "a_head: as many outputs as tokens"), "{:?}", drafted.notes);
    assert!(has_note(&drafted, "z_words: a lone matrix is an embedding or"), "{:?}", drafted.notes);
    assert!(!has_note(&drafted, "another order"), "{:?}", drafted.notes);
    assert_eq!(drafted.placed["encoder.weight_hh_l0_reverse"], 1);
}

#[test]
fn two_layers_that_fit_in_either_order_are_told() {
    let drafted = draft(&[
        ("rnn2.weight_ih_l0", &[4, 4]),
        ("rnn2.weight_hh_l0", &[4, 4]),
        ("rnn10.weight_ih_l0", &[4, 4]),
        ("rnn10.weight_hh_l0", &[4, 4]),
    ]);
    let names: Vec<_> = drafted.model.layers.iter().map(|layer| layer.prefix.as_str()).collect();
    assert_eq!(names, ["rnn2.", "rnn10."]);
    let note = "layers: another order fits the sizes as well: rnn10, rnn2";
    assert!(drafted.notes.iter().any(|other| other == note), "{:?}", drafted.notes);
    assert!(has_note(&drafted, "rnn2: nonlinearity"), "{:?}", drafted.notes);
}

#[test]
fn projections_cells_and_reverse_stacks_are_told_by_their_names() {
    let projected = draft(&[
        ("weight_ih_l0", &[32, 5]),
        ("weight_hh_l0", &[32, 3]),
        ("weight_hr_l0", &[3, 8]),
        ("bias_ih_l0", &[32]),
        ("bias_hh_l0", &[32]),
    ]);
    assert_eq!(projected.model, Model::new().named_layer("", Lstm::new(5, 8).proj_size(3)));
    let cell = draft(&[("cell.weight_ih", &[12, 5]), ("cell.weight_hh", &[12, 4]), ("cell.bias_ih", &[12])]);
    assert_eq!(cell.model, Model::new().named_layer("cell.", Gru::new(5, 4).bias(Bias::One)));
    let reverse = draft(&[("r.weight_ih_l0_reverse", &[3, 5]), ("r.weight_hh_l0_reverse", &[3, 3])]);
    let wanted = Rnn::new(5, 3).bias(Bias::None).direction(Direction::Reverse);
    assert_eq!(reverse.model, Model::new().named_layer("r.", wanted));
    assert!(has_note(&reverse, "r: direction"), "{:?}", reverse.notes);
    assert_eq!(reverse.model.axes, Axes::BatchFirst);
}

#[test]
fn what_fits_nowhere_is_listed_with_the_reason() {
    let mut tensors = shaped(&[
        ("lstm.weight_ih_l0", &[16, 5]),
        ("lstm.weight_hh_l0", &[16, 4]),
        ("lstm.extra", &[7]),
        ("norm.weight", &[4]),
        ("norm.bias", &[4]),
        ("conv.weight", &[6, 7, 3]),
        ("other.weight", &[2, 11]),
        ("other.bias", &[2]),
        ("odd.weight_ih_l0", &[8, 5]),
        ("odd.weight_hh_l0", &[8, 4]),
        ("dense.kernel", &[4, 2]),
        ("one", &[1]),
    ]);
    tensors.insert_unread("norm.num_batches_tracked", "I64", Vec::new());
    let draft = formats::describe(&tensors).unwrap();
    let lstm = Model::new().named_layer("lstm.", Lstm::new(5, 4).bias(Bias::None));
    assert_eq!(draft.model, lstm.named_layer("norm.", LayerNorm::new(4)));
    let listed: Vec<_> = draft.unplaced.iter().map(ToString::to_string).collect();
    let keras = "Keras' name: save the whole model (model.save(\"model.keras\")), which needs no description";
    let gates = "expected 1, 3 or 4 gates (rnn, gru, lstm) in weight_hh, by rows over columns, got [8, 4]";
    assert_eq!(
        listed,
        [
            "conv.weight: takes 7 features, and in a chain no layer that gives as many is left before it".to_owned(),
            format!("dense.kernel: {keras}"),
            "lstm.extra: the layer has no tensor of that name".into(),
            "norm.num_batches_tracked: the layer has no tensor of that name".into(),
            format!("odd.weight_hh_l0: {gates}"),
            format!("odd.weight_ih_l0: {gates}"),
            "one: no layer that is known has a tensor of that name".into(),
            "other.bias: takes 11 features, and in a chain no layer that gives as many is left before it".into(),
            "other.weight: takes 11 features, and in a chain no layer that gives as many is left before it".into(),
        ]
    );
    assert_eq!(draft.placed.len() + draft.unplaced.len(), tensors.names().count());
}

#[test]
fn tensors_of_no_layer_are_an_error() {
    let error = formats::describe(&shaped(&[("x", &[3])])).unwrap_err();
    let text = "expected tensors that PyTorch's layers have (NAME.weight_ih_l0, NAME.weight), got x";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Weights, text));
    let error = formats::describe(&Tensors::new()).unwrap_err();
    assert_eq!(error.to_string(), "expected the tensors of a recurrent network, got none");
}

#[test]
fn many_layers_of_equal_sizes_are_put_in_order_at_once() {
    let mut tensors = Tensors::new();
    for index in 0..300 {
        for (name, shape) in [("weight", [4, 4].to_vec()), ("bias", vec![4])] {
            let len = shape.iter().product();
            tensors.insert(format!("layers.{index}.{name}"), Tensor::new(shape, vec![0.0; len]));
        }
    }
    let draft = formats::describe(&tensors).unwrap();
    assert_eq!(draft.model.layers.len(), 256);
    assert_eq!(draft.model.layers[255].prefix, "layers.255.");
    assert_eq!(draft.unplaced.len(), 2 * 44);
    assert!(draft.unplaced.iter().all(|tensor| tensor.why == "only 256 layers are looked at"));
}
