//! The call that checks updates: gradients that become new weights, by every kernel of an update.

use super::{KnownAnswer, numbers};
use crate::error::Result;
use crate::kernel::Storage;
use crate::layout::Layout;
use crate::model::{Embedding, Linear, Lstm, Model};
use crate::pack::Packed;
use crate::plan::tune::{Target, Tuning};
use crate::plan::{Feed, Limits, Moves, SlotKind, Write, kept, lower};
use crate::rule::{Method, Rule};

const WORDS: usize = 5;
/// One more than a panel.
const HIDDEN: usize = 17;

impl KnownAnswer {
    /// The call that checks updates on a device of this kind: `amsgrad`, which keeps most of each weight, with gradients clipped in
    /// both ways, of a model with every class of weights and a tensor that two layers lay out each in its way. What a training
    /// would keep is written by the host.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where the device takes not even this.
    pub(in crate::engine) fn of_update(target: Target, limits: &Limits) -> Result<Self> {
        let model = model();
        let layout = Layout::for_training(&model)?;
        let rule = Rule { method: Method::Adam { amsgrad: true }, momentum: false, clips_value: true };
        let moves = Moves { rule, by_tensor: true };
        let mut plan = lower::lower_update(&model, &layout, limits, &Tuning::of(target), moves)?;
        let mut writes = Vec::new();
        let mut are_means = Vec::new();
        for (slot, held) in plan.slots.iter_mut().enumerate() {
            let before_moments = kept::moment(layout.buffers.len(), 0, 0);
            are_means.push(matches!(held.kind, SlotKind::Kept(index) if index >= before_moments));
            if !held.kind.is_own() {
                held.kind = SlotKind::Scratch;
                writes.push(Write { feed: Feed::Features, slot, offset: 0, bytes: held.bytes });
            }
        }
        plan.writes.splice(0..0, writes);
        let give = |write: Write, words: &mut [u32]| {
            // Numbers of an update, and means of squares, are more than zero.
            let is_positive = write.feed != Feed::Features || are_means[write.slot];
            let all = numbers(words.len());
            for (word, x) in
                words.iter_mut().zip(all.iter().map(|&x: &f32| if is_positive { 0.1 + 0.4 * x.abs() } else { x }))
            {
                *word = x.to_bits();
            }
            Ok(())
        };
        Self::of_plan(layout, Packed { storage: Storage::F32, buffers: Vec::new() }, plan, give)
    }
}

/// Weights of every class: rows of a product, biases, peepholes, a table, which the last layer has too.
fn model() -> Model {
    let lstm = Lstm::new(HIDDEN, HIDDEN).peepholes();
    let mut model =
        Model::new().layer(Embedding::new(WORDS, HIDDEN)).layer(lstm).layer(Linear::new(HIDDEN, WORDS).no_bias());
    model.layers[2].weights = model.layers[0].weights.clone();
    model
}
