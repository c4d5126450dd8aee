//! The dropout that a training cannot do: it is refused by name, and never left out.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Consumers, LayerKind, Model};

/// Checks that a training can do all dropout of `model`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if it cannot.
pub(super) fn check(model: &Model) -> Result<()> {
    let consumers = Consumers::of(model);
    for (index, layer) in model.layers.iter().enumerate() {
        let wrong = match &layer.kind {
            LayerKind::Dropout(dropout) => {
                // A selection in a chain bypasses dropout.
                let is_seen = !model.is_chain() || !consumers.of_steps(index).is_empty();
                (dropout.rate.get() > 0.0 && !is_seen).then(|| {
                    "expected dropout of something that is taken, got one that nothing takes; a selection takes what it selects of \
                     the stack itself: try the dropout after it"
                        .to_owned()
                })
            }
            _ => None,
        };
        if let Some(text) = wrong {
            return Err(model.at_layer(index, Error::new(ErrorKind::Training, text)));
        }
    }
    Ok(())
}
