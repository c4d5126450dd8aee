//! Which dropout a training cannot do: it is refused by its name, and never left out.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{LayerKind, Model, Recurrent, Takers};

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
            LayerKind::Recurrent(r) => of_stack(r),
            _ => None,
        };
        if let Some(text) = wrong {
            return Err(Error::new(ErrorKind::Training, format!("layer {}: {text}", model.place(index))));
        }
    }
    Ok(())
}

/// What of the dropout of a stack cannot be done.
fn of_stack(r: &Recurrent) -> Option<String> {
    let Recurrent { input_dropout, recurrent_dropout, .. } = r;
    if recurrent_dropout.get() > 0.0 {
        return Some(format!(
            "recurrent_dropout: expected 0 to train, got {recurrent_dropout}: nothing drops states yet; try 0, with \
             dropout of the input or a layer dropout"
        ));
    }
    // Keras draws for each direction by itself.
    (input_dropout.get() > 0.0 && r.directions() == 2).then(|| {
        format!(
            "input_dropout: expected 0 to train both directions, got {input_dropout}: each would drop by itself; try 0, with a \
             layer dropout of features before it"
        )
    })
}
