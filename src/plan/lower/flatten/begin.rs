//! The values of a model that a stack's layers begin at.

use super::Flattening;
use crate::error::{Error, Result};
use crate::model::{Features, Join, LayerKind, Pin, Recurrent, Slice, State, Value};
use crate::plan::lower::ops::{Axis, Begin, Op, OpKind, Source};

impl Flattening<'_> {
    /// Returns the initial states of layer `stacked` of a stack.
    pub(super) fn begin(&mut self, layer: usize, r: &Recurrent, stacked: usize) -> Result<[Option<Begin>; 2]> {
        let [hidden, cell] = self.model.layers[layer].initial;
        let mut one = |value: Option<Value>| {
            let begin = match value {
                None => None,
                Some(Value::Input(input)) if self.model.inputs[input].kind.flow().is_none() => None,
                Some(Value::Layer(from, pin @ (Pin::Hidden | Pin::Cell))) => {
                    let state = if pin == Pin::Hidden { State::Hidden } else { State::Cell };
                    Some(self.begin_of_stack((layer, r, stacked), from, state)?)
                }
                Some(value) => Some(Begin::Row(self.value(value, layer)?)),
            };
            Ok::<_, Error>(begin)
        };
        Ok([one(hidden)?, one(cell)?])
    }

    /// Returns the initial states of layer `stacked` of stack `layer` if they are final states of stack `from`.
    /// States count layer by layer, and within each by direction. So two layers may begin the two directions of one.
    fn begin_of_stack(
        &mut self,
        (layer, r, stacked): (usize, &Recurrent, usize),
        from: usize,
        state: State,
    ) -> Result<Begin> {
        let LayerKind::Recurrent(before) = &self.model.layers[from].kind else {
            return Err(Error::internal(format!("layer {from}: expected a stack")));
        };
        let (size, parts) = (state.size(before), before.directions());
        let of_layer = |back: &Self, which: usize| {
            let op = back.stacks.get(&from).and_then(|layers| layers.get(which).copied());
            op.ok_or_else(|| Error::internal(format!("layer {from}: expected a stack of more layers")))
        };
        if parts == r.directions() {
            return Ok(Begin::Final(of_layer(self, stacked)?, state));
        }
        let mut rows = Vec::new();
        let row = |kind, from, features| Op { layer, stacked: None, kind, from, axis: Axis::Rows, features };
        for which in stacked * r.directions()..(stacked + 1) * r.directions() {
            let whole = vec![Source::Op(of_layer(self, which / parts)?)];
            let own = self.add(row(OpKind::Final(state), whole, Features { parts, size }));
            let slice = Slice { first: which % parts * size, count: size };
            rows.push(self.add(row(OpKind::Slice(slice), vec![own], Features::one(size))));
        }
        let features = Features::one(size * rows.len());
        Ok(Begin::Row(self.add(row(OpKind::Join(Join::Concat), rows, features))))
    }
}
