//! The numbers of a training step, on their way from a GPU.

use super::device_states::PendingRead;

/// The numbers of a step, which may arrive later from a GPU.
#[derive(Default)]
pub(crate) struct Sent {
    /// The loss.
    pub(crate) loss: f64,
    /// The square of the norm of all gradients.
    pub(crate) norm: f32,
    pub(super) reads: Vec<PendingRead>,
}

impl Sent {
    /// Forgets everything but its memory.
    pub(crate) fn clear(&mut self) {
        self.reads.clear();
        (self.loss, self.norm) = (0.0, f32::NAN);
    }
}
