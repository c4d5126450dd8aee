//! Flattens a model into the list of its operations. Stacks are opened into layers,
//! visible padding is masked, and the outputs of two directions are merged.
//!
//! All consumers see the padding of a layer's outputs, with two exceptions. A selection of final states reads
//! none of the outputs. A cell reads them only at its live steps. There the layer below had a live step too,
//! so its output is the same. But a backwards layer's outputs are in the order of its walk, while the mask is
//! not (as in Keras). So the output that the next layer reads at a live step may be that of a dead one.

mod attention;
mod begin;
mod convolve;

use std::collections::HashMap;

use super::across;
use super::normalize::normalized;
use super::ops::{Axis, Begin, Drop, Input, Op, OpKind, Ops, Recurrence, Source, VisibleSteps};
use super::walk::Walk;
use super::window_pool;
use crate::cell::{Activation, Cell, Reset};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Combine, Kernel, Mask};
use crate::layout::{Layout, MatrixRef, Role};
use crate::model::{
    Clocks, Consumers, Direction, DropoutUnit, Features, Flow, Join, LayerKind, Merge, Model, Pin, Recurrent, Select,
    State, Value,
};
use crate::plan::{Feed, Shape, Steps};

/// A consumer of a recurrent layer's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consumer {
    /// A recurrent layer.
    Cell,
    /// A selection of final states: it reads none of the outputs.
    Final,
    /// Any consumer that sees all outputs: another layer, or a user.
    All,
}

/// Whether dropout is active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropout {
    /// It is the identity.
    Off,
    /// It drops, as in training.
    On,
}

/// Returns the operations of `model`.
pub(super) fn flatten(model: &Model, layout: &Layout, shape: Shape, dropout: Dropout) -> Result<Ops> {
    let (clocks, values, stacks) = (Clocks::of(model), HashMap::new(), HashMap::new());
    let inputs = (0..model.inputs.len().max(1)).map(|input| clocks.of_value(Value::Input(input))).collect();
    let consumers = Consumers::of(model);
    let mut flat = Flattening { model, layout, consumers, shape, dropout, clocks, ops: Vec::new(), values, stacks };
    for (layer, flow) in model.flows()?.into_iter().enumerate() {
        flat.layer(layer, flow)?;
    }
    let of = |value: Value| flat.value(value, model.layers.len());
    let outputs = model.feature_outputs().into_iter().map(of).collect::<Result<Vec<_>>>()?;
    Ok(Ops { ops: flat.ops, outputs, inputs })
}

/// The state of opening a model's layers into operations.
struct Flattening<'a> {
    model: &'a Model,
    layout: &'a Layout,
    consumers: Consumers<'a>,
    shape: Shape,
    dropout: Dropout,
    clocks: Clocks,
    ops: Vec<Op>,
    /// The source of each value that has been taken.
    values: HashMap<Value, Source>,
    /// The operations of the layers of each stack, first to last.
    stacks: HashMap<usize, Vec<usize>>,
}

impl Flattening<'_> {
    /// Adds layer `layer`, whose output is `flow`.
    fn layer(&mut self, layer: usize, flow: Flow) -> Result<()> {
        let (axis, features) = match flow {
            Flow::Steps(features) => (Axis::Steps(self.clock(Value::Layer(layer, Pin::Output))?), features),
            Flow::Rows(features) => (Axis::Rows, features),
            Flow::Tokens(_) => return Ok(()),
        };
        let (model, layout) = (self.model, self.layout);
        let of = &model.layers[layer];
        if let LayerKind::Recurrent(r) = &of.kind {
            return self.stack(layer, r);
        }
        // Vectors of tokens that are folded into the tables of their consumers.
        if let Value::Layer(origin, _) = model.origin(Value::Layer(layer, Pin::Output))
            && layout.is_folded(model, origin)
        {
            return Ok(());
        }
        let mut from = of.from.iter().map(|&value| self.value(value, layer)).collect::<Result<Vec<_>>>()?;
        if let LayerKind::Attention(attention) = &of.kind {
            return self.attention(layer, attention, from, (axis, features));
        }
        let rowwise =
            |activation| rowwise(activation).unwrap_or(OpKind::Rowwise { kernel: Kernel::Activate, activation });
        let kinds = match &of.kind {
            LayerKind::Embedding(_) => vec![OpKind::Gather { buffer: buffer(layout, Role::Table { layer })? }],
            LayerKind::OneHot(_) => vec![OpKind::OneHot],
            // Final states and last outputs are values of the stack that has them.
            LayerKind::Masking(_) => self.masking(layer)?.into_iter().collect(),
            LayerKind::Select(Select::AllSteps | Select::FinalHidden | Select::LastOutput)
            | LayerKind::Recurrent(_)
            | LayerKind::Attention(_) => Vec::new(),
            LayerKind::Dropout(dropout) => {
                let drop =
                    Drop { rate: dropout.rate, place: 0, shared: dropout.drops == DropoutUnit::Features, gates: 1 };
                self.dropping(drop).map(OpKind::Drop).into_iter().collect()
            }
            LayerKind::Select(Select::LastStep) => vec![OpKind::LastStep],
            LayerKind::Linear(l) => {
                let matrix = place(layout, Role::Linear { layer })?;
                self.activated(l.activation, |activation| OpKind::Linear { matrix, activation })
            }
            LayerKind::Conv1d(c) => self.convolution((layer, c), &mut from, axis)?,
            LayerKind::Activation(activation) => vec![rowwise(*activation)],
            LayerKind::Join(Join::ConcatSteps) | LayerKind::SliceSteps(_) | LayerKind::WindowPool(_) => {
                let time = |&value: &Value| Some(self.shape.steps(self.clocks.of_value(value)?).time);
                let times: Vec<_> = of.from.iter().map(time).collect();
                let pieces = of.kind.pieces(&times).unwrap_or_default();
                self.check_steps(layer, axis, pieces.iter().map(|(_, count)| *count))?;
                let time = times.first().copied().flatten().unwrap_or(1);
                let clock = self.live_windows((layer, &of.kind), &mut from)?;
                vec![window_pool::of_layer(&of.kind, time, clock, pieces)]
            }
            LayerKind::PadSteps(pad) => {
                let runs = pad.runs(self.shape.steps(self.clock(of.from[0])?).time);
                self.check_steps(layer, axis, runs.iter().map(|(_, count)| *count))?;
                from = vec![from[0]; runs.len()];
                vec![OpKind::Pieces(runs)]
            }
            // The backward pass takes two values at a time.
            LayerKind::Join(Join::Maximum) if layout.trains && from.len() > 2 => {
                let last = from.pop().into_iter();
                let mut others = from.into_iter();
                let mut most = others.next().ok_or_else(|| Error::internal("a join of no values"))?;
                for other in others {
                    most = self.add(Op {
                        layer,
                        stacked: None,
                        kind: OpKind::Join(Join::Maximum),
                        from: vec![most, other],
                        axis,
                        features,
                    });
                }
                from = [most].into_iter().chain(last).collect();
                vec![OpKind::Join(Join::Maximum)]
            }
            LayerKind::Join(join) => vec![OpKind::Join(*join)],
            LayerKind::Slice(slice) => vec![OpKind::Slice(*slice)],
            LayerKind::GlobalPool(_)
            | LayerKind::Repeat(_)
            | LayerKind::Flatten(_)
            | LayerKind::Reshape(_)
            | LayerKind::Permute(_) => vec![across::of_layer(model, layer, &self.clocks, self.shape)?],
            kind @ (LayerKind::BatchNorm(_)
            | LayerKind::LayerNorm(_)
            | LayerKind::RmsNorm(_)
            | LayerKind::L2Norm(_)
            | LayerKind::PRelu(_)) => normalized((model, layout), (layer, kind), from[0], &self.ops)?,
        };
        for kind in kinds {
            from = vec![self.add(Op { layer, stacked: None, kind, from, axis, features })];
        }
        self.values.insert(Value::Layer(layer, Pin::Output), from[0]);
        Ok(())
    }

    /// Returns `drop` if it drops anything.
    fn dropping(&self, drop: Drop) -> Option<Drop> {
        (self.dropout == Dropout::On && drop.rate.get() > 0.0).then_some(drop)
    }

    /// Returns the clock of `value`, which has a time axis.
    fn clock(&self, value: Value) -> Result<usize> {
        let clock = self.clocks.of_value(value);
        clock.ok_or_else(|| Error::internal(format!("{value:?}: expected a value with a time axis")))
    }

    /// Returns what zeroes the steps that layer `layer` masks, if the host has not.
    fn masking(&self, layer: usize) -> Result<Option<OpKind>> {
        let clock = self.clock(Value::Layer(layer, Pin::Output))?;
        let of = &self.model.layers[layer];
        let from = *of.from.first().ok_or_else(|| Error::internal("a masking: expected what it takes"))?;
        Ok(self.zeroed(clock, from))
    }

    /// Returns what zeroes the steps of `value` that clock `clock` lacks, if the host has not.
    fn zeroed(&self, clock: usize, value: Value) -> Option<OpKind> {
        let by_host = if let Value::Input(input) = value { self.clocks.of_read(input) == Some(clock) } else { false };
        let masked = !by_host && self.shape.steps(clock).mask == Mask::Live;
        masked.then_some(OpKind::MaskOutputs(VisibleSteps { feed: Feed::Live(clock), rows: [0, 0] }))
    }

    /// Checks that layer `layer` gives as many steps as its time axis has in the call: the sum of `counts`.
    fn check_steps(&self, layer: usize, axis: Axis, counts: impl IntoIterator<Item = usize>) -> Result<()> {
        let (own, time) = (counts.into_iter().fold(0, usize::saturating_add), axis.time(self.shape));
        if own == time {
            return Ok(());
        }
        let text = format!("layer {}: expected {time} steps, as the call says, got {own}", self.model.place(layer));
        Err(Error::new(ErrorKind::Shape, text))
    }

    /// Returns a product by `product`, and its function as an operation of its own where that is needed.
    fn activated(&self, activation: Activation, product: impl Fn(Activation) -> OpKind) -> Vec<OpKind> {
        match rowwise(activation) {
            Some(softmax) => vec![product(Activation::Linear), softmax],
            // The backward pass needs the input of the function.
            None if self.layout.trains && activation != Activation::Linear => {
                vec![product(Activation::Linear), OpKind::Rowwise { kernel: Kernel::Activate, activation }]
            }
            None => vec![product(activation)],
        }
    }

    fn add(&mut self, op: Op) -> Source {
        self.ops.push(op);
        Source::Op(self.ops.len() - 1)
    }

    /// Returns the source of `value`, for layer `consumer`.
    fn value(&mut self, value: Value, consumer: usize) -> Result<Source> {
        let (layer, pin) = match value {
            Value::Input(input) => return Ok(Source::Input(input)),
            Value::Layer(layer, pin) => (layer, pin),
        };
        if let Some(&source) = self.values.get(&value) {
            return Ok(source);
        }
        let LayerKind::Recurrent(r) = &self.model.layers[layer].kind else {
            return Err(Error::internal(format!("layer {layer}: expected a value that is there, got none")));
        };
        let last = self.stacks.get(&layer).and_then(|layers| layers.last().copied());
        let stack =
            last.ok_or_else(|| Error::internal(format!("layer {layer}: expected a stack before it is taken")))?;
        let op = |kind, from, features| Op {
            layer: consumer,
            stacked: None,
            kind,
            from: vec![from],
            axis: Axis::Rows,
            features,
        };
        let (state, features) = match pin {
            Pin::FinalCell => (State::Cell, Features { parts: r.directions(), size: r.hidden_size }),
            Pin::Output | Pin::FinalHidden | Pin::LastOutput | Pin::Hidden | Pin::Cell => (State::Hidden, r.hidden()),
        };
        let mut source = self.add(op(OpKind::Final(state), Source::Op(stack), features));
        match pin {
            Pin::FinalHidden | Pin::FinalCell => {}
            // The output that each direction computes last, masked by its padding, then merged.
            Pin::LastOutput => {
                let clock = self.clock(self.model.layers[layer].from[0])?;
                let Steps { time, mask } = self.shape.steps(clock);
                if mask == Mask::Live {
                    source = self.add(op(OpKind::MaskOutputs(VisibleSteps::last(r, clock, time)), source, r.hidden()));
                }
                if let Some(combine) = combine(r) {
                    source = self.add(op(OpKind::Merge(combine), source, r.output()));
                }
            }
            Pin::Output | Pin::Hidden | Pin::Cell => {
                return Err(Error::internal(format!("layer {layer}: expected a value of features, got {pin:?}")));
            }
        }
        self.values.insert(value, source);
        Ok(source)
    }

    /// Adds the layers of stack `layer`, and the operations between one layer's outputs and the next.
    fn stack(&mut self, layer: usize, r: &Recurrent) -> Result<()> {
        let (model, stack) = (self.model, self.model.stack_of(layer));
        let taken = model.layers[layer].from[0];
        let clock = self.clock(taken)?;
        let Steps { time, mask } = self.shape.steps(clock);
        let mut source = match self.layout.vectors(model, layer) {
            // Tokens go straight into a table that the layer before is folded into.
            Some(_) => match model.origin(taken) {
                Value::Layer(before, _) => self.value(model.layers[before].from[0], layer)?,
                Value::Input(input) => Source::Input(input),
            },
            None => self.value(taken, layer)?,
        };
        for stacked in 0..r.num_layers {
            let is_last = stacked + 1 == r.num_layers;
            let between = (!is_last).then_some(stacked);
            let op = |kind, from, features| Op {
                layer,
                stacked: between,
                kind,
                from: vec![from],
                axis: Axis::Steps(clock),
                features,
            };
            let sources = self.taken((r, stacked), source, &op);
            let begin = self.begin(layer, r, stacked)?;
            let mut recurrence =
                Recurrence { begin, clock, ..recurrence(model, self.layout, r, layer, stack, stacked)? };
            recurrence.drop = self.dropping(Drop {
                rate: r.recurrent_dropout,
                place: r.place_of_states(stacked),
                shared: true,
                gates: r.cell.gates(),
            });
            // The backward pass needs states and gates in one order of time.
            // So outputs in the order of the walk are reversed afterwards.
            let reversed = self.layout.trains && r.direction == Direction::Backwards;
            if reversed {
                recurrence.walks = [Walk::Reverse; 2];
            }
            source = self.add(Op { from: sources, ..op(OpKind::Recurrent(Box::new(recurrence)), source, r.hidden()) });
            self.stacks.entry(layer).or_default().push(self.ops.len() - 1);
            if reversed {
                source = self.add(Op {
                    from: vec![source; time],
                    ..op(OpKind::Pieces((0..time).rev().map(|step| (step, 1)).collect()), source, r.hidden())
                });
            }
            let consumer = if is_last { consumer(model, &self.consumers, layer) } else { Consumer::Cell };
            let padding_shows = match consumer {
                Consumer::Cell => r.direction == Direction::Backwards,
                Consumer::Final => false,
                Consumer::All => true,
            };
            if mask == Mask::Live && padding_shows {
                source = self.add(op(OpKind::MaskOutputs(VisibleSteps::all(r, clock, time)), source, r.hidden()));
            }
            if let (Some(combine), Consumer::Cell | Consumer::All) = (combine(r), consumer) {
                source = self.add(op(OpKind::Merge(combine), source, r.output()));
            }
            let drop = Drop { rate: r.dropout, place: r.place_between(stacked), shared: false, gates: 1 };
            if let Some(drop) = self.dropping(drop).filter(|_| !is_last) {
                source = self.add(op(OpKind::Drop(drop), source, r.output()));
            }
        }
        self.values.insert(Value::Layer(layer, Pin::Output), source);
        Ok(())
    }

    /// Returns what layer `stacked` of a stack takes of `source`. It is the source itself, or for each
    /// direction what dropout leaves of it. If the states have a copy for each gate (Keras), the input has too.
    fn taken(
        &mut self,
        (r, stacked): (&Recurrent, usize),
        source: Source,
        op: &dyn Fn(OpKind, Source, Features) -> Op,
    ) -> Vec<Source> {
        let gates = if r.recurrent_dropout.get() > 0.0 { r.cell.gates() } else { 1 };
        let of =
            |direction| Drop { rate: r.input_dropout, place: r.place_before(stacked, direction), shared: true, gates };
        let drops: Vec<_> = (0..r.directions()).filter_map(|direction| self.dropping(of(direction))).collect();
        if drops.is_empty() {
            return vec![source];
        }
        let whole = match source {
            Source::Op(op) => self.ops[op].features,
            Source::Input(_) => r.layer_input(stacked),
        };
        let features = Features { parts: whole.parts * gates, ..whole };
        drops.into_iter().map(|drop| self.add(op(OpKind::Drop(drop), source, features))).collect()
    }
}

fn rowwise(activation: Activation) -> Option<OpKind> {
    matches!(activation, Activation::Softmax | Activation::LogSoftmax)
        .then_some(OpKind::Rowwise { kernel: Kernel::Softmax, activation })
}

/// Returns how the outputs of a layer of `r` are merged, if they are.
fn combine(r: &Recurrent) -> Option<Combine> {
    match r.merge {
        _ if !r.is_merged() => None,
        Merge::Concat => None,
        Merge::Sum => Some(Combine::Sum),
        Merge::Average => Some(Combine::Average),
        Merge::Product => Some(Combine::Product),
    }
}

/// Returns the consumer of the outputs of stack `layer`.
fn consumer(model: &Model, consumers: &Consumers<'_>, layer: usize) -> Consumer {
    let consumers = consumers.of_steps(layer);
    let is_cell = |consumer: &Option<usize>| {
        consumer.is_some_and(|consumer| matches!(model.layers[consumer].kind, LayerKind::Recurrent(_)))
    };
    match consumers[..] {
        [] => Consumer::Final,
        _ if consumers.iter().all(is_cell) => Consumer::Cell,
        _ => Consumer::All,
    }
}

fn recurrence(
    model: &Model,
    layout: &Layout,
    r: &Recurrent,
    layer: usize,
    stack: usize,
    stacked: usize,
) -> Result<Recurrence> {
    let hidden = |gate| place(layout, Role::Hidden { layer, stacked, gate });
    Ok(Recurrence {
        stack,
        stacked,
        clock: 0,
        cell: r.cell,
        directions: r.directions(),
        walks: Walk::of(r.direction),
        variants: [0, 1].map(|direction| r.variant(direction)),
        hidden_size: r.hidden_size,
        input: match layout.vectors(model, layer).filter(|_| stacked == 0) {
            Some((vectors, _)) => Input::Table(buffer(layout, Role::InputTable { layer, vectors })?),
            None => Input::Matrix(place(layout, Role::Input { layer, stacked })?),
        },
        hidden: match r.cell {
            Cell::Gru(Reset::Before) => vec![hidden(0)?, hidden(2)?],
            Cell::Rnn | Cell::Lstm | Cell::Gru(Reset::After) => vec![hidden(0)?],
        },
        projection: r.proj_size.map(|_| place(layout, Role::Projection { layer, stacked })).transpose()?,
        run: layout.run(layer, stacked),
        drop: None,
        begin: [None; 2],
    })
}

fn buffer(layout: &Layout, role: Role) -> Result<usize> {
    layout.find(role).ok_or_else(|| missing(role))
}

fn place(layout: &Layout, role: Role) -> Result<MatrixRef> {
    layout.place(role).ok_or_else(|| missing(role))
}

fn missing(role: Role) -> Error {
    Error::new(ErrorKind::Model, format!("the layout has no buffer for {role:?}: it is of another model"))
}

/// Joins the layers of each layer run into one operation, if `wavefront` accepts it.
pub(super) fn group_runs(all: Ops, wavefront: impl Fn(usize, &Recurrence) -> Result<bool>) -> Result<Ops> {
    let Ops { ops: separate, outputs, inputs } = all;
    let mut ops: Vec<Op> = Vec::with_capacity(separate.len());
    // The new index of each operation.
    let mut places = Vec::with_capacity(separate.len());
    for op in separate {
        let op = moved(op, &places);
        let OpKind::Recurrent(r) = op.kind else {
            ops.push(op);
            places.push(ops.len() - 1);
            continue;
        };
        match (r.run, ops.last_mut().map(|op| &mut op.kind)) {
            (Some((_, 1..)), Some(OpKind::Wavefront(layers))) => layers.push(*r),
            (Some((run, 0)), _) if wavefront(run, &r)? => ops.push(Op { kind: OpKind::Wavefront(vec![*r]), ..op }),
            _ => ops.push(Op { kind: OpKind::Recurrent(r), ..op }),
        }
        places.push(ops.len() - 1);
    }
    let outputs = outputs.into_iter().map(|output| there(output, &places)).collect();
    Ok(Ops { ops, outputs, inputs })
}

/// Moves the sources of `op` to the indices in `places`.
pub(super) fn moved(mut op: Op, places: &[usize]) -> Op {
    op.from.iter_mut().for_each(|source| *source = there(*source, places));
    if let OpKind::Recurrent(r) = &mut op.kind {
        for begin in r.begin.iter_mut().flatten() {
            *begin = match *begin {
                Begin::Row(source) => Begin::Row(there(source, places)),
                Begin::Final(op, state) => Begin::Final(places[op], state),
            };
        }
    }
    op
}

pub(super) fn there(source: Source, places: &[usize]) -> Source {
    match source {
        Source::Input(input) => Source::Input(input),
        Source::Op(op) => Source::Op(places[op]),
    }
}
