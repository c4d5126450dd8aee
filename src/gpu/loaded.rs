//! A model on a device: its weights, and its idle plans.
//!
//! Idle plans belong to the model and not to the device. Equal plans of two models
//! have different weights, and idle plans are dropped with their model. Knows no slot.

use std::sync::{Arc, Mutex};

use super::bound::{Bound, Want};
use super::buffers::Weights;
use super::device::lock;
use crate::plan::{Idle, Plan};

/// A model's weights on a device, and the buffers of the plans that last ran with them.
#[derive(Default)]
pub(crate) struct Loaded {
    /// The weights, which all plans share.
    pub(super) weights: Weights,
    /// Idle plans. A running plan is not among them: a second call with it makes a second set.
    idle: Mutex<Idle<Bound>>,
}

impl Loaded {
    /// Takes the idle buffers of `plan` for `want`, if there are any.
    pub(super) fn take(&self, plan: &Arc<Plan>, want: Want) -> Option<Bound> {
        lock(&self.idle).take(|bound| bound.is_of(plan, want))
    }

    /// Keeps the buffers of a plan for the next call.
    pub(super) fn put(&self, bound: Bound) {
        let bytes = bound.bytes();
        lock(&self.idle).put(bound, bytes);
    }
}
