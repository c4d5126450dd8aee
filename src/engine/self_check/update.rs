//! The call that checks updates: gradients that become new weights, by every kernel of an update.

use super::{KnownAnswer, numbers};
use crate::error::Result;
use crate::layout::Layout;
use crate::model::{Embedding, Linear, Lstm, Model};
use crate::pack::Packed;
use crate::plan::tune::{Target, Tuning};
use crate::plan::{Feed, Limits, SlotKind, UpdateRule, Write, lower, train_state};
use crate::precision::Precision;
use crate::rule::{Method, Rule};

const WORDS: usize = 5;
/// One more than a panel.
const HIDDEN: usize = 17;

impl KnownAnswer {
    /// Makes the call that checks updates on a device of this kind. The rule is `amsgrad`, which keeps the most numbers
    /// for each weight, with gradients clipped in both ways. The model has every class of weights, and a tensor that
    /// two layers lay out in different ways. What a training would keep is written by the host.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if the device cannot run even this.
    pub(in crate::engine) fn of_update(target: Target, limits: &Limits) -> Result<Self> {
        let model = model();
        let layout = Layout::for_training(&model)?;
        let rule = Rule { method: Method::Adam { amsgrad: true }, momentum: false, clips_value: true };
        let update_rule = UpdateRule { rule, by_tensor: true };
        let mut plan = lower::lower_update(&model, &layout, limits, &Tuning::of(target), update_rule)?;
        let mut writes = Vec::new();
        let mut are_means = Vec::new();
        for (slot, held) in plan.slots.iter_mut().enumerate() {
            let before_moments = train_state::moment(layout.buffers.len(), 0, 0);
            are_means.push(matches!(held.kind, SlotKind::TrainState(index) if index >= before_moments));
            if !held.kind.is_own() {
                held.kind = SlotKind::Scratch;
                writes.push(Write { feed: Feed::Features, slot, offset: 0, bytes: held.bytes });
            }
        }
        plan.writes.splice(0..0, writes);
        let give = |write: Write, words: &mut [u32]| {
            // The numbers of an update and means of squares are positive.
            let is_positive = write.feed != Feed::Features || are_means[write.slot];
            let all = numbers(words.len());
            for (word, x) in
                words.iter_mut().zip(all.iter().map(|&x: &f32| if is_positive { 0.1 + 0.4 * x.abs() } else { x }))
            {
                *word = x.to_bits();
            }
            Ok(())
        };
        Self::of_plan(layout, Packed { storage: Precision::F32, buffers: Vec::new() }, plan, give)
    }
}

/// A model with weights of every class: rows of a product, biases, peepholes, and a table that the last layer shares.
fn model() -> Model {
    let lstm = Lstm::new(HIDDEN, HIDDEN).peepholes();
    let mut model =
        Model::new().layer(Embedding::new(WORDS, HIDDEN)).layer(lstm).layer(Linear::new(HIDDEN, WORDS).no_bias());
    model.layers[2].prefix = model.layers[0].prefix.clone();
    model
}
