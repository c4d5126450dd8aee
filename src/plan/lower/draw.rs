//! Plans that draw tokens: each step takes the token that was drawn from the output of the step before.
//!
//! So no product is hoisted out of time, and no layer runs ahead of another. Each
//! step goes through all layers and ends in a draw. Values between layers are in the
//! rows of a chunk, which alternate. Knows no seed and no temperature: they are data.

use super::dispatch::word;
use super::frames::{going_on, kept};
use super::ops::{Axis, Op, OpKind, Ops, Sequence, Source, Span};
use super::{Chunk, Lowering, needed};
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Kernel, Params, Program, Role};
use crate::layout::depth;
use crate::model::{Direction, Embedding, Features, LayerKind, Model, Slice, State};
use crate::plan::SlotId;

/// Returns the operations of `model` if each step is to end in a draw from output `output`.
///
/// Nothing is masked, since no consumer sees dead steps. Each step is the last one when it is drawn from, so a
/// selection of the last step gives its own input. A softmax at the end only subtracts a constant from the logits,
/// which does not change the draw. Operations that do not depend on tokens run once, before the first step.
///
/// # Errors
///
/// Returns an error of kind `Model` if the output is not a number for each token that the model takes.
pub(super) fn drawing(model: &Model, all: Ops, output: usize) -> Result<Ops> {
    let tokens = tokens(model)?;
    let drawn = needed(all.outputs.get(output).copied(), format_args!("output {output} of the model"))?;
    // No consumer sees the other outputs.
    let Ops { ops: all, outputs, inputs } = going_on(Ops { outputs: vec![drawn], ..all });
    let mut once = vec![false; all.len()];
    for (index, op) in all.iter().enumerate() {
        let known = |source: &Source| match *source {
            Source::Input(input) => input != model.main_input(),
            Source::Op(op) => once[op],
        };
        once[index] = op.axis == Axis::Rows && op.from.iter().all(known);
    }
    let mut each: Vec<Op> = Vec::with_capacity(all.len() + 2);
    // The new place of each operation's result.
    let mut places = vec![Source::Input(model.main_input()); all.len()];
    let order = (0..all.len()).filter(|&index| once[index]).chain((0..all.len()).filter(|&index| !once[index]));
    for index in order {
        let mut op = all[index].clone();
        op.from.iter_mut().for_each(|source| *source = now(*source, &places));
        // Operations of a layer itself, and not those that it takes from a stack.
        let is_own = matches!(
            op.kind,
            OpKind::Join(_) | OpKind::Pieces(_) | OpKind::Convolve { .. } | OpKind::Across(_) | OpKind::Attention(_)
        );
        let layer = model.layers.get(op.layer).filter(|_| is_own);
        if let Some(got) = layer.and_then(|layer| layer.kind.beyond_a_step()) {
            let place = model.place(op.layer);
            return unfit(format!("layer {place}: expected what each step gives, got {got}"));
        }
        places[index] = match op.kind {
            OpKind::MaskOutputs(_) | OpKind::LastStep | OpKind::Final(State::Hidden) => op.from[0],
            OpKind::Final(State::Cell) => {
                return unfit(format!(
                    "layer {}: expected what a step gives, to draw from, got a final cell state",
                    model.place(op.layer)
                ));
            }
            OpKind::Gather { .. }
            | OpKind::OneHot
            | OpKind::Recurrent(_)
            | OpKind::Wavefront(_)
            | OpKind::Merge(_)
            | OpKind::Drop(_)
            | OpKind::Linear { .. }
            | OpKind::Convolve { .. }
            | OpKind::Rowwise { .. }
            | OpKind::Normalize(_)
            | OpKind::Join(_)
            | OpKind::Slice(_)
            | OpKind::Pieces(_)
            | OpKind::Across(_)
            | OpKind::Attention(_)
            | OpKind::Sample => {
                op.axis = if once[index] { Axis::Rows } else { Axis::Steps(0) };
                each.push(op);
                Source::Op(each.len() - 1)
            }
        };
    }
    let (mut source, features) = logits(tokens, &each, now(outputs[0], &places))?;
    let (layer, axis) = (model.layers.len(), Axis::Steps(0));
    if features.parts > 1 {
        let (kind, features) =
            (OpKind::Slice(Slice { first: 0, count: features.len() }), Features::one(features.len()));
        each.push(Op { layer, stacked: None, kind, from: vec![source], axis: each_axis(&each, source), features });
        source = Source::Op(each.len() - 1);
    }
    let features = Features::one(features.len());
    each.push(Op { layer, stacked: None, kind: OpKind::Sample, from: vec![source], axis, features });
    let outputs = vec![Source::Op(each.len() - 1)];
    // States go on even if the draw does not need them.
    Ok(kept(Ops { ops: each, outputs, inputs }, |op| op.layers() > 0))
}

/// Returns how many tokens `model` takes. It must take one token a step and nothing else.
fn tokens(model: &Model) -> Result<usize> {
    let main = model.main_input();
    let Some(tokens) = model.input()?.tokens() else {
        return unfit(match model.inputs.get(main) {
            None => "layer 0: expected an embedding or one_hot, to take the tokens that are drawn".into(),
            Some(input) => format!("{}: expected tokens, to take those that are drawn, got features", input.name),
        });
    };
    let other = model.inputs.iter().enumerate().find(|(index, input)| *index != main && input.kind.has_time());
    if let Some((_, other)) = other {
        let (name, drawn) = (&other.name, &model.inputs[main].name);
        return unfit(format!(
            "{name}: expected no sequence beside {drawn}, whose tokens are drawn, got one; nothing gives its steps"
        ));
    }
    for (index, layer) in model.layers.iter().enumerate() {
        if let LayerKind::Embedding(Embedding { mask_token: Some(token), .. }) = layer.kind {
            let text = format!("expected every token to be a step, got one that is none ({token})");
            return Err(model.at_layer(index, Error::new(ErrorKind::Model, text)));
        }
        if let LayerKind::Recurrent(stack) = &layer.kind
            && stack.direction != Direction::Forward
        {
            let text = "expected a forward stack, got one that needs later tokens";
            return Err(model.at_layer(index, Error::new(ErrorKind::Model, text)));
        }
    }
    Ok(tokens)
}

/// Returns the value to draw from and its features: a number for each of `tokens` tokens, or fewer.
fn logits(tokens: usize, ops: &[Op], output: Source) -> Result<(Source, Features)> {
    let of = |source: Source| match source {
        Source::Op(op) => Ok(&ops[op]),
        Source::Input(_) => Err(Error::new(ErrorKind::Model, "the model has no layer that gives features")),
    };
    let last = of(output)?;
    let is_softmax = matches!(last.kind, OpKind::Rowwise { kernel: Kernel::Softmax, .. });
    let source = if is_softmax { last.from[0] } else { output };
    let last = of(source)?;
    if let OpKind::Linear { activation, .. } | OpKind::Rowwise { activation, .. } = &last.kind
        && *activation != Activation::Linear
    {
        return unfit(format!("the output: expected linear, softmax or log_softmax, got {}", activation.name()));
    }
    if last.features.len() > tokens {
        let got = last.features.len();
        return unfit(format!("the output: expected a number for each of {tokens} tokens or fewer, got {got}"));
    }
    Ok((source, last.features))
}

/// Returns the new place of `source`.
fn now(source: Source, places: &[Source]) -> Source {
    match source {
        Source::Input(_) => source,
        Source::Op(op) => places[op],
    }
}

/// Returns whether `source` has a value at each step.
fn each_axis(ops: &[Op], source: Source) -> Axis {
    match source {
        Source::Op(op) => ops[op].axis,
        Source::Input(_) => Axis::Steps(0),
    }
}

fn unfit<T>(text: String) -> Result<T> {
    Err(Error::new(ErrorKind::Model, text))
}

impl Lowering<'_> {
    /// Returns the sequence of drawn tokens: behind the first ones, which the host wrote.
    pub(super) fn drawn(&self, tokens: SlotId) -> Sequence {
        Sequence { slot: tokens, first: 1, features: Features::one(1), axis: Axis::Steps(0), span: Span::Whole }
    }

    /// Draws the token that follows the single step of `chunk`.
    pub(super) fn sample(&mut self, source: Sequence, tokens: Sequence, chunk: Chunk) -> Result<()> {
        let draws = needed(self.draws, "a slot of draws")?;
        let batch = self.shape.batch;
        let (window, read) = self.rows_of_chunk(source, Chunk { len: 1, ..chunk });
        let windows = [
            (Role::Source, Some(window)),
            (Role::Draws, Some(self.whole(draws))),
            (Role::Tokens, Some(self.whole(tokens.slot))),
        ];
        for (first, rows) in self.pieces(batch, 1) {
            let params = Params {
                rows: word(rows),
                batch: word(batch),
                directions: 1,
                units: word(depth(source.features)),
                features: word(source.features.size),
                source_0: word(read + first),
                target_0: word((tokens.first + chunk.start) * batch + first),
                ..Params::default()
            };
            self.dispatch(Program::Sample, params, [1, rows, 1], &windows)?;
        }
        Ok(())
    }
}
