//! Plans that draw tokens: each step takes the token that was drawn from what the step before it gave.
//!
//! So no product over time is hoisted, and no layer runs ahead of another: each step goes through all of them, and ends
//! in a draw. What flows between them lies in the rows of a chunk, which take turns. Knows no seed and no temperature:
//! those are data.

use super::dispatch::word;
use super::ops::{Axis, Op, OpKind, Ops, Sequence, Source, Span};
use super::walk::Walk;
use super::{Chunk, Lowering, needed};
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Kernel, Params, Program, Role};
use crate::layout::depth;
use crate::model::{Embedding, Features, LayerKind, Model};
use crate::plan::SlotId;

/// What becomes of the operations of `model` where each step is to end in a draw.
///
/// Dead steps show to nobody, so nothing is blanked; a step is the last one when it is drawn from, so that a selection of
/// the last gives what it takes. A softmax at the end takes nothing but a constant from the logits, which no draw sees.
///
/// # Errors
///
/// Kind `Model`, where what the model gives is not a number for each token that it takes.
pub(super) fn drawing(model: &Model, all: Ops) -> Result<Ops> {
    if !model.is_chain() {
        let text = "the model: expected layers one after the other, to draw tokens from, got a graph";
        return Err(Error::new(ErrorKind::Model, text));
    }
    let mut each: Vec<Op> = Vec::with_capacity(all.ops.len() + 1);
    for op in all.ops {
        match op.kind {
            OpKind::Blank(_) | OpKind::LastStep => {}
            OpKind::Final(_) => {
                // What lies between a layer and the selection of its state gives nothing.
                let kept = each.iter().rposition(|op| op.layers() > 0).map_or(0, |last| last + 1);
                each.truncate(kept);
            }
            OpKind::Gather { .. }
            | OpKind::OneHot
            | OpKind::Recurrent(_)
            | OpKind::Diagonal(_)
            | OpKind::Merge(_)
            | OpKind::Linear { .. }
            | OpKind::Rowwise { .. }
            | OpKind::Join(_)
            | OpKind::Slice(_)
            | OpKind::Pieces(_)
            | OpKind::Sample => each.push(Op { axis: Axis::Steps(0), ..op }),
        }
    }
    if matches!(each.last(), Some(Op { kind: OpKind::Rowwise { kernel: Kernel::Softmax, .. }, .. })) {
        each.pop();
    }
    let features = logits(model, &each)?;
    let layer = model.layers.len();
    each.push(Op { layer, stacked: None, kind: OpKind::Sample, from: Vec::new(), axis: Axis::Steps(0), features });
    // Each takes what the one before it gives.
    for (index, op) in each.iter_mut().enumerate() {
        op.from = vec![index.checked_sub(1).map_or(Source::Input(0), Source::Op)];
    }
    let outputs = vec![Source::Op(each.len() - 1)];
    Ok(Ops { ops: each, outputs, inputs: all.inputs })
}

/// The features that tokens can be drawn from by.
fn logits(model: &Model, ops: &[Op]) -> Result<Features> {
    let unfit = |text: String| Err(Error::new(ErrorKind::Model, text));
    let Some(tokens) = model.input()?.tokens() else {
        return unfit("layer 0: expected an embedding or one_hot, to take the tokens that are drawn".into());
    };
    if let LayerKind::Embedding(Embedding { mask_token: Some(token), .. }) = model.layers[0].kind {
        return unfit(format!("layer 0: expected every token to be a step, got one that is none ({token})"));
    }
    let turned = |op: &&Op| matches!(&op.kind, OpKind::Recurrent(r) if r.walks != [Walk::Forward; 2]);
    if let Some(op) = ops.iter().find(turned) {
        return unfit(format!("layer {}: expected a forward stack, got one that needs later tokens", op.layer));
    }
    let last = ops.last().ok_or_else(|| Error::new(ErrorKind::Model, "the model has no layer that gives features"))?;
    if let OpKind::Linear { activation, .. } | OpKind::Rowwise { activation, .. } = &last.kind
        && *activation != Activation::Linear
    {
        return unfit(format!("the output: expected linear, softmax or log_softmax, got {}", activation.name()));
    }
    let features = last.features;
    if features.parts > 1 || features.len() > tokens {
        let got = features.len();
        return unfit(format!("the output: expected a number for each of {tokens} tokens or fewer, got {got}"));
    }
    Ok(features)
}

impl Lowering<'_> {
    /// Where the tokens are that are drawn: behind the first ones, which the host wrote.
    pub(super) fn drawn(&self, tokens: SlotId) -> Sequence {
        Sequence { slot: tokens, first: 1, features: Features::one(1), axis: Axis::Steps(0), span: Span::Whole }
    }

    /// Draws the token that follows the one step of `chunk`.
    pub(super) fn sample(&mut self, source: Sequence, tokens: Sequence, chunk: Chunk) -> Result<()> {
        let draws = needed(self.draws, "a slot of draws")?;
        let batch = self.shape.batch;
        let read = self.row_of(source, chunk, 0);
        let (window, base) = self.rows(source, read, 1);
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
                source_0: word((read - base) * batch + first),
                target_0: word((tokens.first + chunk.start) * batch + first),
                ..Params::default()
            };
            self.dispatch(Program::Sample, params, [1, rows, 1], &windows)?;
        }
        Ok(())
    }
}
