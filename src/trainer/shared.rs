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
    /// The numbers of the update of a state.
    scalars: Scalars,
    /// The gradients of initial states, each with its sum of squares.
    states: BTreeMap<String, (Named, f64)>,
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
        let squared = |(name, gradient): (String, Named)| {
            let squared = squares(&scalars, &self.states[&name].named.data, &gradient.data);
            (name, (gradient, squared))
        };
        let states: BTreeMap<_, _> = states.into_iter().map(squared).collect();
        let mut sent = Sent::default();
        sent.loss = loss;
        self.runner.update(&of_roles, states.values().map(|(_, squared)| squared).sum(), &mut sent).await?;
        // From here on it is a step, whether anybody waits for it or not.
        let shared = Shared { update: self.updates + 1, scalars, states, finals, sent };
        self.waiting.of_nobody(Submitted::Shared(Box::new(shared)));
        self.end_last().await
    }

    /// Does the host's part of a step whose numbers have been received.
    pub(super) fn end(&mut self, shared: Shared) -> Result<Trained> {
        let Shared { update: t, scalars, states, finals, sent } = shared;
        let trained = self.trained(t, &sent)?;
        let norm = trained.norm;
        let rule = self.update.rule();
        for (name, (gradient, squared)) in &states {
            let Some(Trainable { named, moments }) = self.states.get_mut(name) else { continue };
            let own = if let Clip::TensorNorm(_) = self.update.clip { *squared } else { norm * norm };
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
        Ok(trained)
    }
}
