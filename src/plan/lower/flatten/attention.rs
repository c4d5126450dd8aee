//! What an attention becomes: operations that lay features out alike, the attention itself, and a mask behind it.

use super::{Flattening, Role, buffer};
use crate::error::{Error, Result};
use crate::kernel::Mask;
use crate::model::{Attention, Features, Pin, Scores, Slice, Value};
use crate::plan::Feed;
use crate::plan::lower::ops::{Attending, Axis, Op, OpKind, Source, VisibleSteps};

impl Flattening<'_> {
    /// Adds attention `of`, which is layer `layer` and takes the values `from`.
    pub(super) fn attention(
        &mut self,
        layer: usize,
        of: &Attention,
        from: Vec<Source>,
        (axis, features): (Axis, Features),
    ) -> Result<()> {
        let (value, key) = of.places(from.len());
        let values = &self.model.layers[layer].from;
        let clock = self.clock(values[value])?;
        let weight = of.weight.then(|| buffer(self.layout, Role::Table { layer })).transpose()?;
        let attending = Attending {
            scores: of.scores,
            scale: of.factor(),
            causal: of.causal,
            weight,
            clock,
            steps: self.shape.steps(clock).time,
        };
        let mut taken = vec![self.in_one_part(layer, from[key])?, from[value]];
        if of.scores != Scores::Given {
            taken.insert(0, self.in_one_part(layer, from[0])?);
        }
        let op = |kind, from| Op { layer, stacked: None, kind, from, axis, features };
        let mut source = self.add(op(OpKind::Attention(attending), taken));
        // A step that the query lacks gives zero.
        if let Axis::Steps(own) = axis
            && self.shape.steps(own).mask == Mask::Live
        {
            let visible = VisibleSteps { feed: Feed::Live(own), rows: [0, 0] };
            source = self.add(op(OpKind::MaskOutputs(visible), vec![source]));
        }
        self.values.insert(Value::Layer(layer, Pin::Output), source);
        Ok(())
    }

    /// Returns `source` with its features in one part: query, key and weight are multiplied element by element.
    fn in_one_part(&mut self, layer: usize, source: Source) -> Result<Source> {
        let (axis, features) = match source {
            Source::Op(op) => (self.ops[op].axis, self.ops[op].features),
            Source::Input(input) => {
                let inputs = self.model.all_inputs()?;
                let flow = inputs.get(input).and_then(|input| input.kind.flow());
                let flow = flow.ok_or_else(|| Error::internal(format!("layer {layer}: expected features")))?;
                let clock = self.clocks.of_value(Value::Input(input));
                (clock.map_or(Axis::Rows, Axis::Steps), flow.features())
            }
        };
        if features.parts == 1 {
            return Ok(source);
        }
        let kind = OpKind::Slice(Slice { first: 0, count: features.len() });
        let features = Features::one(features.len());
        Ok(self.add(Op { layer, stacked: None, kind, from: vec![source], axis, features }))
    }
}
