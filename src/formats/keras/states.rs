//! The initial states of a recurrent layer, from tensors of the graph.
//!
//! Knows which states a stack has, in Keras' order: all of one direction before the other's.

use super::builder::Builder;
use super::config::wrong;
use super::values::{Flow, Known};
use crate::error::Result;
use crate::model::{Join, LayerKind, Recurrent, StateLifetime, Value as Edge};

impl Builder {
    /// Returns the values that a stack of one layer begins at when it is called with `initial`:
    /// for its hidden states, and for an LSTM's cell states.
    pub(super) fn begin(&mut self, stack: &Recurrent, initial: &[Known]) -> Result<[Option<Edge>; 2]> {
        if initial.is_empty() {
            return Ok([None; 2]);
        }
        if stack.state_lifetime == StateLifetime::Engine {
            return Err(wrong(
                "expected none in a stateful layer, which begins where the last call ended, got some".into(),
            ));
        }
        let (directions, states, units) = (stack.directions(), stack.cell.states(), stack.hidden_size);
        if initial.len() != directions * states {
            let text =
                format!("expected {} tensors (states of each direction), got {}", directions * states, initial.len());
            return Err(wrong(text));
        }
        let initial = initial.iter().map(|known| self.settled(known)).collect::<Result<Vec<_>>>()?;
        if let Some(other) = initial.iter().find(|known| known.flow != Flow::Rows(units)) {
            return Err(wrong(format!("expected [B, {units}], got {} of {}", other.shape(), other.from)));
        }
        let mut begins = [None; 2];
        for (state, begin) in begins.iter_mut().enumerate().take(states) {
            let parts = initial.iter().skip(state).step_by(states).cloned().collect();
            let known = self.join(Join::Concat, parts)?;
            *begin = Some(match known.source.is_state() {
                // All the states of a stack with the same number of directions.
                Some((layer, pin)) if self.directions(layer) == Some(directions) => Edge::Layer(layer, pin),
                _ => self.edge(&known)?,
            });
        }
        Ok(begins)
    }

    fn directions(&self, layer: usize) -> Option<usize> {
        match &self.model.layers[layer].kind {
            LayerKind::Recurrent(stack) => Some(stack.directions()),
            _ => None,
        }
    }
}
