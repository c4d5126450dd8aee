//! Which dropout a training cannot do: it is refused by its name, and never left out.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{LayerKind, Model, Takers};

/// Whether all dropout of `model` can be done.
///
/// # Errors
///
/// Kind `Training`.
pub(super) fn check(model: &Model) -> Result<()> {
    let takers = Takers::of(model);
    for (index, layer) in model.layers.iter().enumerate() {
        let wrong = match &layer.kind {
            LayerKind::Dropout(dropout) => {
                // A selection of a chain passes dropout by.
                let is_seen = !model.is_chain() || !takers.of_steps(index).is_empty();
                (dropout.rate.get() > 0.0 && !is_seen).then(|| {
                    "expected dropout of something that is taken, got one that nothing takes; a selection takes what it selects of \
                     the stack itself: try the dropout after it"
                        .to_owned()
                })
            }
            _ => None,
        };
        if let Some(text) = wrong {
            return Err(Error::new(ErrorKind::Training, format!("layer {}: {text}", model.place(index))));
        }
    }
    Ok(())
}
