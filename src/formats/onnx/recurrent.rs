//! The operators RNN, LSTM and GRU: their attributes, weights and
//! axes, as a stack of one layer. `states` has its initial states.
//!
//! Gate orders and names are those of `dialect`.

use ndarray::{ArrayD, IxDyn};

use super::across;
use super::change::Change;
use super::constant::{Constant, is_possible};
use super::conv;
use super::dense;
use super::graph::{Draft, Graph, Of};
use super::links::What;
use super::misfit;
use super::node::Node;
use super::order;
use super::quantized;
use super::size::Size;
use super::states::{Layout, begin};
use super::value::{At, Axis, Data, FeedAxis, Fill, Order, Role, Segment, Sorted, Value};
use super::weights::spread;
use crate::cell::{Activation, Cell, Constant as Number, Coupling, Functions, Peepholes, Reset};
use crate::error::Result;
use crate::model::{Bias, Dim, Direction, InputValue, Recurrent, WeightPart};
use crate::weights::dialect::from_onnx;

/// A tensor of weights: from the file, or an input of the graph.
enum Weight {
    Given(Constant),
    Input { input: usize, dims: Vec<usize> },
}

impl Weight {
    fn dims(&self) -> &[usize] {
        match self {
            Self::Given(constant) => constant.dims(),
            Self::Input { dims, .. } => dims,
        }
    }
}

/// ONNX Runtime's LSTM of quantized weights.
const QUANTIZED_LSTM: &str = "DynamicQuantizeLSTM";

/// The weights of a node.
struct Weights {
    w: Weight,
    r: Weight,
    b: Option<Weight>,
    p: Option<Weight>,
}

pub(super) fn recurrent(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let is_quantized = node.op == QUANTIZED_LSTM;
    let most = match node.op {
        QUANTIZED_LSTM => 12,
        "LSTM" => 8,
        _ => 6,
    };
    if (most..node.inputs.len()).any(|index| node.input(index).is_some()) {
        return Err(misfit(format!("expected at most {most} inputs, as the operator has, got {}", node.inputs.len())));
    }
    let layout = if !is_quantized && node.flag("layout")? { Layout::BatchMajor } else { Layout::TimeMajor };
    if !is_quantized {
        node.flag("output_sequence")?;
    }
    let cell = match node.op {
        "RNN" => Cell::Rnn,
        "LSTM" | QUANTIZED_LSTM => Cell::Lstm,
        _ if node.flag("linear_before_reset")? => Cell::Gru(Reset::After),
        _ => Cell::Gru(Reset::Before),
    };
    let direction = match node.text("direction")?.as_deref() {
        None | Some("forward") => Direction::Forward,
        Some("reverse") => Direction::Reverse,
        Some("bidirectional") => Direction::Both,
        Some(other) => {
            return Err(misfit(format!("direction: expected forward, reverse or bidirectional, got {other:?}")));
        }
    };
    let weight = |graph: &mut Graph, node: &Node<'_>, index: usize| match is_quantized && index < 3 {
        true => quantized::of_lstm(graph, node, index).map(|weight| Some(Weight::Given(weight))),
        false => weight(graph, node, index),
    };
    let weights = Weights {
        w: weight(graph, node, 1)?.ok_or_else(|| misfit("expected W, got none".into()))?,
        r: weight(graph, node, 2)?.ok_or_else(|| misfit("expected R, got none".into()))?,
        b: weight(graph, node, 3)?,
        p: weight(graph, node, 7)?,
    };
    let stack = stack(node, cell, direction, &weights)?;
    let x = graph.input(node, 0)?;
    let (parent, [time, batch], w) = sequence(graph, x, layout, &stack, weights.w)?;
    let (parent, direction, turned) = backwards(graph, parent, direction)?;
    let (parent, weights) = unscaled(graph, parent, Weights { w, ..weights })?;
    let steps_of = graph.links.link(parent).time;
    let steps_of = steps_of.ok_or_else(|| misfit("X: expected a sequence, got what has no steps".into()))?;
    let (input_size, bias) = (graph.links.link(parent).features, weights.bias());
    let stack = Recurrent { input_size, direction, bias, ..stack };
    let begin = begin(graph, node, layout, &stack, &batch)?;
    let stack = Recurrent { initial: begin.initial(), ..stack };
    let mut tensors = tensors(&stack, &weights)?;
    tensors.extend(begin.learned);
    let link = graph.links.stack_from(parent, stack.clone(), tensors, begin.rows);
    for (weight, part) in weights.each() {
        if let Weight::Input { input, .. } = weight {
            let value = InputValue::Weights { layer: 0, part };
            graph.drafts.push(Draft { input: *input, value, axes: Vec::new(), of: Of::Link(link) });
        }
    }
    graph.links.without_lengths(parent)?;
    let lengths = lengths(graph, node, steps_of, &time, &batch)?;
    if lengths.is_some() {
        conv::reads_no_padding(graph, parent)?;
    }
    if direction == Direction::Backwards && lengths.is_some() {
        return Err(misfit("sequence_lens: expected none of a sequence in reverse".into()));
    }
    if turned.is_some() && turned != lengths {
        return Err(misfit("sequence_lens: expected the lengths by which X is reversed, got others or none".into()));
    }
    graph.drafts.extend(begin.ports.into_iter().map(|port| Draft { of: Of::Link(link), ..port }));
    let mut outputs = outputs(&stack, layout, link, time, batch);
    if let (Some(lengths), Some(Value::Data(y))) = (turned, outputs.first_mut()) {
        *y = graph.links.reversed(y.clone(), Some(lengths))?;
    }
    Ok(outputs)
}

/// Reads a sequence in reverse, last step first.
pub(super) fn reverse_sequence(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    let data = graph.data(x, None)?;
    let axis = |name, default| Value::axis(node.int(name)?.unwrap_or(default), data.axes.len());
    let (time, batch) = (axis("time_axis", 0)?, axis("batch_axis", 1)?);
    let mut data = data;
    data.axes[time] = graph.settle(&data.axes[time], Dim::Time)?;
    data.axes[batch] = graph.settle(&data.axes[batch], Dim::Batch)?;
    let lengths = match graph.input(node, 1)? {
        all if is_all(&all, &data.axes[time].size) => None,
        Value::Input(feed) if order::lengths(graph, &feed).is_some() => Some(feed.input),
        other => {
            let text = "sequence_lens: expected an input of the lengths of the rows, or all steps for each row";
            return Err(misfit(format!("{text}, got {}", other.kind())));
        }
    };
    graph.links.reversed(data, lengths).map(|data| vec![Value::Data(data)])
}

/// If `parent` is a sequence in reverse, returns the sequence, the direction that goes through it, and the input of
/// lengths by which it is reversed.
///
/// A stack behind lengths gives its steps in the order of the input, and then they are reversed again.
fn backwards(graph: &Graph, parent: usize, direction: Direction) -> Result<(usize, Direction, Option<usize>)> {
    let link = graph.links.link(parent);
    match (&link.what, link.parent()) {
        (What::Reversed(None), Some(parent)) if direction == Direction::Forward => {
            Ok((parent, Direction::Backwards, None))
        }
        (&What::Reversed(lengths), Some(parent)) if direction == Direction::Forward => {
            Ok((parent, Direction::Reverse, lengths))
        }
        (What::Reversed(_), _) => Err(misfit("direction: expected forward of a sequence in reverse".into())),
        _ => Ok((parent, direction, None)),
    }
}

/// If `parent` is the scaled input, returns the input, and weights that include the scale.
fn unscaled(graph: &Graph, parent: usize, weights: Weights) -> Result<(usize, Weights)> {
    if graph.links.link(parent).what != What::Scaled {
        return Ok((parent, weights));
    }
    let supplied = || misfit("X: the input times or plus a constant, with weights that a caller supplies".into());
    let Weights { w: Weight::Given(w), b: b @ (None | Some(Weight::Given(_))), .. } = &weights else {
        return Err(supplied());
    };
    let [directions, rows, columns] = [w.dims()[0], w.dims()[1], w.dims()[2]];
    let flat = w.clone().changed(Change::Reshape(vec![directions.saturating_mul(rows), columns]))?;
    let (source, flat, added) = dense::unscaled(graph, parent, flat)?;
    let w = flat.changed(Change::Reshape(vec![directions, rows, columns]))?;
    let b = match (added, b) {
        (None, _) => weights.b,
        (Some(added), b) => {
            // The first half of B is the input product's bias.
            let own = b.as_ref().and_then(|b| if let Weight::Given(b) = b { Some(b.clone()) } else { None });
            let shape = vec![directions, rows.saturating_mul(2)];
            let b = Constant::computed([added].into_iter().chain(own).collect(), shape, graph.limit, move |of| {
                let shape = (directions, 2 * rows);
                let mut b = of.get(1).map_or_else(|| ArrayD::zeros(IxDyn(&[shape.0, shape.1])), Clone::clone);
                for (at, x) in of[0].iter().enumerate() {
                    b[[at / rows, at % rows]] += x;
                }
                b
            })?;
            Some(Weight::Given(b))
        }
    };
    Ok((source, Weights { w: Weight::Given(w), b, ..weights }))
}

/// Whether `lengths` are all `time`: every row is as long as the input.
fn is_all(lengths: &Value, time: &Size) -> bool {
    match lengths {
        Value::Filled(filled) => filled.fill == Fill::Whole(time.clone()),
        Value::Numbers(numbers) => numbers.iter().all(|n| n == time),
        _ => false,
    }
}

impl Weights {
    fn bias(&self) -> Bias {
        if self.b.is_some() { Bias::Two } else { Bias::None }
    }

    fn each(&self) -> impl Iterator<Item = (&Weight, WeightPart)> {
        let optional =
            [self.b.as_ref().map(|b| (b, WeightPart::Bias)), self.p.as_ref().map(|p| (p, WeightPart::Peepholes))];
        [(&self.w, WeightPart::Input), (&self.r, WeightPart::Recurrent)]
            .into_iter()
            .chain(optional.into_iter().flatten())
    }
}

/// Returns input `index` as weights.
fn weight(graph: &Graph, node: &Node<'_>, index: usize) -> Result<Option<Weight>> {
    let unfit = |text: String| misfit(format!("input {index}: {text}"));
    match graph.optional(node, index)? {
        None => Ok(None),
        Some(Value::Constant(constant)) => Ok(Some(Weight::Given(constant))),
        Some(Value::Filled(filled)) => super::axes::constant_of(&filled, graph.limit).map(|c| Some(Weight::Given(c))),
        Some(Value::Input(feed)) => {
            let is_whole = |(i, axis): (usize, &FeedAxis)| axis.source == Some(i) && axis.whole;
            if !feed.fixed.is_empty() || !feed.axes.iter().enumerate().all(is_whole) {
                return Err(unfit("expected weights as they come in, got a part of an input".into()));
            }
            let dims = feed.axes.iter().map(|axis| axis.size.value().and_then(|n| usize::try_from(n).ok()));
            let dims = dims.collect::<Option<Vec<_>>>().filter(|dims| is_possible(dims)).ok_or_else(|| {
                let name = &graph.inputs[feed.input].name;
                unfit(format!("{name:?} holds weights that the caller supplies, and the file leaves their shape open"))
            })?;
            Ok(Some(Weight::Input { input: feed.input, dims }))
        }
        Some(other) => Err(unfit(format!("expected weights, got {}", other.kind()))),
    }
}

/// Returns the stack with the options of the attributes and the sizes of the weights.
fn stack(node: &Node<'_>, cell: Cell, direction: Direction, weights: &Weights) -> Result<Recurrent> {
    let (&[_, _, inputs], &[_, _, hidden]) = (weights.w.dims(), weights.r.dims()) else {
        let (w, r) = (weights.w.dims(), weights.r.dims());
        return Err(misfit(format!("expected W and R of three axes, got {w:?} and {r:?}")));
    };
    if inputs == 0 || hidden == 0 {
        return Err(misfit(format!("expected at least one feature and one unit, got {inputs} and {hidden}")));
    }
    if let Some(said) = node.int("hidden_size")?
        && !Size::len(hidden).is(said)
    {
        return Err(misfit(format!("hidden_size: expected {hidden}, as R has, got {said}")));
    }
    let mut stack = Recurrent::new(cell, inputs, hidden).direction(direction);
    let (directions, rows) = (stack.directions(), cell.gates().saturating_mul(hidden));
    let wanted: [(&str, Option<&Weight>, Vec<usize>); 4] = [
        ("W", Some(&weights.w), vec![directions, rows, inputs]),
        ("R", Some(&weights.r), vec![directions, rows, hidden]),
        ("B", weights.b.as_ref(), vec![directions, rows.saturating_mul(2)]),
        ("P", weights.p.as_ref(), vec![directions, hidden.saturating_mul(3)]),
    ];
    for (name, weight, dims) in wanted {
        if let Some(weight) = weight
            && weight.dims() != dims
        {
            return Err(misfit(format!("{name}: expected {dims:?}, got {:?}", weight.dims())));
        }
    }
    stack.functions = functions(node, cell, directions)?;
    // A bound that is never reached is left out.
    stack.clip = node.float("clip")?.filter(|&clip| clip < f32::MAX).map(Number::new);
    if cell == Cell::Lstm && node.flag("input_forget")? {
        stack.coupling = Coupling::InputForget;
    }
    if weights.p.is_some() {
        stack.peepholes = Peepholes::Diagonal;
    }
    Ok(stack)
}

/// Returns the functions of each direction by name. Those with constants take them in order.
fn functions(node: &Node<'_>, cell: Cell, directions: usize) -> Result<[Functions; 2]> {
    let count = cell.function_count();
    let (alphas, betas) = (node.floats("activation_alpha")?, node.floats("activation_beta")?);
    let (mut alphas, mut betas) = (alphas.unwrap_or_default().iter(), betas.unwrap_or_default().iter());
    let Some(names) = node.texts("activations")? else { return Ok([cell.functions(); 2]) };
    // The default of RNN's attribute has two functions, whatever the direction, and exporters write it out.
    let surplus = cell == Cell::Rnn && names.len() == 2;
    if names.len() != count * directions && !surplus {
        return Err(misfit(format!("activations: expected {}, got {}", count * directions, names.len())));
    }
    let mut both = [Functions::NONE; 2];
    for (functions, names) in both.iter_mut().zip(names.chunks(count)).take(directions) {
        let slots = [&mut functions.f, &mut functions.g, &mut functions.h];
        for (slot, name) in slots.into_iter().zip(names) {
            let function = named(name).ok_or_else(|| misfit(format!("activations: no function {name:?}")))?;
            let constants: Vec<Number> = function
                .constants()
                .into_iter()
                .map(|(letter, default)| {
                    let given = if letter == "alpha" { alphas.next() } else { betas.next() };
                    given.map_or(default, |&x| Number::new(x))
                })
                .collect();
            *slot = function.with_constants(&constants);
        }
    }
    if directions == 1 {
        both[1] = both[0];
    }
    Ok(both)
}

/// Returns the function with ONNX's name `name`, with its default constants.
fn named(name: &str) -> Option<Activation> {
    const NAMES: [(&str, &str); 11] = [
        ("Relu", "relu"),
        ("Tanh", "tanh"),
        ("Sigmoid", "sigmoid"),
        ("Affine", "affine"),
        ("LeakyRelu", "leaky_relu"),
        ("ThresholdedRelu", "thresholded_relu"),
        ("ScaledTanh", "scaled_tanh"),
        ("HardSigmoid", "hard_sigmoid"),
        ("Elu", "elu"),
        ("Softsign", "softsign"),
        ("Softplus", "softplus"),
    ];
    // Some exporters write names in lower case, and runtimes accept that.
    let (_, ours) = NAMES.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(name))?;
    Activation::ALL.into_iter().find(|function| function.name() == *ours)
}

/// Returns the link that gives the sequence, its axes of time and
/// batch, and the input weights for all features of that link.
fn sequence(
    graph: &mut Graph,
    x: Value,
    layout: Layout,
    stack: &Recurrent,
    w: Weight,
) -> Result<(usize, [Axis; 2], Weight)> {
    let axis = usize::from(layout == Layout::BatchMajor);
    graph.tell_time(&x, axis)?;
    let mut data = graph.data(x, Some(stack.input_size))?;
    data = across::as_steps(graph, data, axis)?;
    let [first, second, Axis { role: Role::Features, size, .. }] = &data.axes[..] else {
        return Err(misfit(format!("X: expected time, batch and features, got {}", data.axes_text())));
    };
    if *size != Size::len(stack.input_size) {
        return Err(misfit(format!("X: expected {} features, as W has, got {size}", stack.input_size)));
    }
    let (time, batch) = if layout == Layout::TimeMajor { (first, second) } else { (second, first) };
    let supplied = matches!(w, Weight::Input { .. });
    let (parent, runs) = graph.links.taken(&data, !supplied)?;
    let axes = [graph.settle(time, Dim::Time)?, graph.settle(batch, Dim::Batch)?];
    if graph.links.is_whole(parent, &runs) {
        return Ok((parent, axes, w));
    }
    let Weight::Given(w) = w else { unreachable!("features that are whole take any weights") };
    let features = graph.links.link(parent).features;
    let [directions, rows, columns] = [w.dims()[0], w.dims()[1], w.dims()[2]];
    let flat = w.changed(Change::Reshape(vec![directions * rows, columns]))?;
    let spread = spread(flat, &runs, features, graph.limit)?;
    let w = spread.changed(Change::Reshape(vec![directions, rows, features]))?;
    Ok((parent, axes, Weight::Given(w)))
}

/// Returns the weights from the file as tensors with our names.
fn tensors(stack: &Recurrent, weights: &Weights) -> Result<Vec<(String, Constant)>> {
    let mut tensors = Vec::new();
    for (weight, part) in weights.each() {
        if let Weight::Given(constant) = weight {
            let cut = from_onnx(stack, part, &constant.tensor)?;
            let origin = &constant.origin;
            let part = |tensor| Constant::new(tensor).from(origin.clone());
            tensors.extend(cut.into_iter().map(|(name, tensor)| (name, part(tensor))));
        }
    }
    Ok(tensors)
}

/// Returns the input with the lengths of the rows. All recurrent
/// nodes with the steps of the same input must have the same one.
fn lengths(graph: &mut Graph, node: &Node<'_>, steps_of: usize, time: &Axis, batch: &Axis) -> Result<Option<usize>> {
    let own = match graph.optional(node, 4)? {
        None => None,
        Some(Value::Input(feed)) if batch.sorted.is_none() => match order::lengths(graph, &feed) {
            Some(input) => Some(input),
            None => return Err(misfit("sequence_lens: expected an input of one axis, the batch".into())),
        },
        Some(Value::Sorted(Sorted { lengths, what: Order::Lengths, .. })) if batch.sorted == Some(lengths) => {
            Some(lengths)
        }
        Some(Value::Input(_) | Value::Sorted(_)) => {
            return Err(misfit("sequence_lens: expected the lengths in the order of the rows of X".into()));
        }
        Some(lengths) if is_all(&lengths, &time.size) => None,
        Some(other) => {
            let got = match other {
                Value::Numbers(lengths) => format!("{} lengths of the file; make them an input", lengths.len()),
                other => other.kind(),
            };
            return Err(misfit(format!("sequence_lens: expected an input, or all steps for each row, got {got}")));
        }
    };
    graph.links.times.tell(steps_of, own, "expected those of the recurrent node before it")?;
    let times = &graph.links.times;
    let of_these = |of| matches!(of, Of::Steps(other) if times.first(other) == times.first(steps_of));
    if let Some(input) = own
        && !graph.drafts.iter().any(|draft| of_these(draft.of))
    {
        debug_assert!(batch.role == Role::Batch, "settled before");
        let of = Of::Steps(steps_of);
        graph.drafts.push(Draft { input, value: InputValue::Lengths(0), axes: vec![Dim::Batch], of });
    }
    Ok(own)
}

/// Returns Y, `Y_h` and `Y_c`.
fn outputs(stack: &Recurrent, layout: Layout, link: usize, time: Axis, batch: Axis) -> Vec<Value> {
    let (directions, hidden) = (stack.directions(), stack.hidden_size);
    let value = |at: At, with_time: bool| {
        let segment = |d| vec![Segment { link, at, start: d * hidden, len: hidden }];
        let cells: Vec<_> = (0..directions).map(segment).collect();
        let (parts, content) = match directions {
            1 => (Axis::one(), ndarray::arr0(segment(0)).into_dyn()),
            _ => (Axis::new(Role::Parts, Size::len(directions)), ndarray::Array1::from_vec(cells).into_dyn()),
        };
        let time = with_time.then(|| time.clone());
        let before = match layout {
            Layout::TimeMajor => [time, Some(parts), Some(batch.clone())],
            Layout::BatchMajor => [Some(batch.clone()), time, Some(parts)],
        };
        let features = Axis::new(Role::Features, Size::len(hidden));
        Value::Data(Data { content, axes: before.into_iter().flatten().chain([features]).collect() })
    };
    let mut values = vec![value(At::All, true), value(At::Hidden, false)];
    if stack.cell == Cell::Lstm {
        values.push(value(At::Cell, false));
    }
    values
}
