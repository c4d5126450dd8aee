//! Steps in which the host has a part: it trains learned initial states, and carries states from one batch to the next.
//!
//! An update cannot be undone once it has begun. So its other half must survive if the future
//! that waits for it is dropped: it is kept among the submitted steps, and the next call ends it.

use std::collections::BTreeMap;

use super::step::Submitted;
use super::{Trainable, Trained, Trainer};
use crate::call::Batched;
use crate::engine::Sent;
use crate::error::Result;
use crate::model::Role;
use crate::recipe::Clip;
use crate::rule::{Scalars, clip_factor, squares, update};
use crate::weights::Named;

/// A step of this kind whose update has begun.
pub(super) struct Shared {
    update: u64,
    loss: f64,
    /// The numbers of the update of a state.
    scalars: Scalars,
    /// The gradients of initial states, and the sum of squares of each.
    states: BTreeMap<String, Named>,
    squared: BTreeMap<String, f64>,
    /// The final states of each stack; none if no states are carried.
    pub(super) finals: Option<Vec<Option<Batched>>>,
    pub(super) sent: Sent,
}

impl Trainer {
    /// Updates the weights by the gradients that the runner keeps, and the
    /// initial states by the gradients `states`. Then states go on from `finals`.
    pub(super) async fn change(
        &mut self,
        loss: f64,
        states: BTreeMap<String, Named>,
        finals: Option<Vec<Option<Batched>>>,
    ) -> Result<Trained> {
        let of_roles = self.scalars()?;
        let scalars = of_roles[Role::State as usize];
        let squared: BTreeMap<String, f64> = states
            .iter()
            .map(|(name, gradient)| (name.clone(), squares(&scalars, &self.states[name].named.data, &gradient.data)))
            .collect();
        let mut sent = Sent::default();
        self.runner.update(&of_roles, squared.values().sum(), &mut sent).await?;
        // From here on it is a step, whether anybody waits for it or not.
        let shared = Shared { update: self.updates + 1, loss, scalars, states, squared, finals, sent };
        self.waiting.of_nobody(Submitted::Shared(Box::new(shared)));
        self.end_last().await
    }

    /// Does the host's part of a step whose numbers have been received.
    pub(super) fn end(&mut self, shared: Shared) -> Result<Trained> {
        let Shared { update: t, loss, scalars, states, squared, finals, sent } = shared;
        let norm = f64::from(sent.norm).sqrt();
        if !loss.is_finite() || !norm.is_finite() {
            return Err(self.not_finite(t, loss, norm));
        }
        let rule = self.update.rule();
        for (name, gradient) in &states {
            let Some(Trainable { named, moments }) = self.states.get_mut(name) else { continue };
            let own = if let Clip::TensorNorm(_) = self.update.clip { squared[name] } else { norm * norm };
            let mut moments: Vec<&mut [f32]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
            #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
            let factor = clip_factor(&scalars, own as f32);
            update(rule, &scalars, factor, &mut named.data, &gradient.data, &mut moments);
        }
        if !states.is_empty() {
            self.begin();
        }
        self.updates = t;
        if let Some(finals) = finals {
            self.keep(finals);
        }
        Ok(Trained { loss, norm, update: t })
    }
}
