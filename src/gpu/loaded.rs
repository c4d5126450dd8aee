//! A model on a device: its weights, and the plans of it that are at rest.
//!
//! Plans rest with the model and not with the device: equal plans of two models have weights of their own, and what rests
//! goes with its model. Knows no slot.

use std::sync::{Arc, Mutex};

use super::bound::{Bound, Want};
use super::buffers::Weights;
use super::device::lock;
use crate::plan::{Idle, Plan};

/// A model's weights on a device, and the buffers of the plans that last ran with them.
#[derive(Default)]
pub(crate) struct Loaded {
    /// What all its plans share.
    pub(super) weights: Weights,
    /// Plans at rest. A plan that runs is not among them: a second call of it makes a second.
    idle: Mutex<Idle<Bound>>,
}

impl Loaded {
    /// The buffers of `plan` for what is wanted of it, where they are at rest here.
    pub(super) fn take(&self, plan: &Arc<Plan>, want: Want) -> Option<Bound> {
        lock(&self.idle).take(|bound| bound.is_of(plan, want))
    }

    /// Puts the buffers of a plan to rest.
    pub(super) fn put(&self, bound: Bound) {
        let bytes = bound.bytes();
        lock(&self.idle).put(bound, bytes);
    }
}
