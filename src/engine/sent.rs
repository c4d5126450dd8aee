//! What a step of training was made of, on its way from a GPU.

use super::resident::Flight;

/// The numbers of a step, which a GPU may bring later.
#[derive(Default)]
pub(crate) struct Sent {
    /// What the model lost.
    pub(crate) loss: f64,
    /// The square of the norm of all gradients.
    pub(crate) norm: f32,
    pub(super) flights: Vec<Flight>,
}

impl Sent {
    /// Forgets all but its memory.
    pub(crate) fn clear(&mut self) {
        self.flights.clear();
        (self.loss, self.norm) = (0.0, f32::NAN);
    }
}
