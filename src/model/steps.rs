//! How many steps the inputs of a call must have, so that every layer has the steps that it takes.
//!
//! Knows layers and edges; knows no call and no lengths of rows.

use super::Model;
use super::graph::{Pin, Value};
use super::layer::LayerKind;
#[cfg(feature = "testing")]
use crate::error::Result;
use crate::error::{Error, ErrorKind};

/// The most steps that are tried. No window is longer.
const MOST: usize = 1 << 25;

/// Why a number of steps does not fit a model.
#[derive(Debug)]
pub(crate) enum Misfit {
    /// A layer takes more.
    Few(Error),
    /// A layer takes fewer.
    Many(Error),
    /// The model itself is wrong.
    Wrong(Error),
}

impl Misfit {
    /// Returns the error.
    pub(crate) fn error(self) -> Error {
        match self {
            Self::Few(error) | Self::Many(error) | Self::Wrong(error) => error,
        }
    }
}

impl Model {
    /// Checks that inputs of as many steps as `time` says leave each layer the steps that it takes. Whether joined values
    /// have equally many is not checked.
    ///
    /// # Errors
    ///
    /// Returns whether the first layer that they do not fit takes more steps or fewer, with its error.
    pub(crate) fn check_steps(&self, time: impl Fn(usize) -> usize) -> std::result::Result<(), Misfit> {
        let taken = self.taken().map_err(Misfit::Wrong)?;
        let mut times: Vec<Option<usize>> = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let of = |value: &Value| match *value {
                Value::Input(input) => {
                    let has_time = self.inputs.get(input).is_none_or(|input| input.kind.has_time());
                    has_time.then(|| time(input))
                }
                Value::Layer(before, Pin::Output) => times.get(before).copied().flatten(),
                Value::Layer(..) => None,
            };
            let all: Vec<Option<usize>> = layer.from.iter().map(of).collect();
            let first = all.iter().copied().flatten().next();
            let error = |text: String| Error::new(ErrorKind::Shape, format!("layer {}: {text}", self.place(index)));
            if let (Some(wanted), Some(got)) = (layer.kind.needed_steps(taken[index]), first)
                && wanted != got
            {
                let error = error(format!("expected {wanted} steps, got {got}"));
                return Err(if got < wanted { Misfit::Few(error) } else { Misfit::Many(error) });
            }
            let own = layer
                .kind
                .pieces(&all)
                .map(|pieces| pieces.iter().fold(0, |time: usize, (_, count)| time.saturating_add(*count)));
            if own == Some(0) {
                let got = first.unwrap_or(1);
                let wanted = layer.kind.wants_steps(got).unwrap_or_else(|| "expected a step to be left".into());
                return Err(Misfit::Few(error(format!("{wanted}, got {got}"))));
            }
            times.push(match &layer.kind {
                kind if kind.ends_steps() => None,
                // It has the steps of its query.
                LayerKind::Attention(_) => all.first().copied().flatten(),
                _ => own.or(first),
            });
        }
        Ok(())
    }

    /// Returns the fewest steps that leave each layer what it takes, if all inputs have as many. More may be too many for
    /// a layer that takes a fixed number.
    pub(crate) fn fewest_steps(&self) -> usize {
        let is_few = |time: usize| matches!(self.check_steps(|_| time), Err(Misfit::Few(_)));
        let (mut few, mut enough) = (0, 1);
        while enough < MOST && is_few(enough) {
            (few, enough) = (enough, enough * 2);
        }
        while enough - few > 1 {
            let middle = few.midpoint(enough);
            if is_few(middle) { few = middle } else { enough = middle }
        }
        enough
    }
}

/// Checks that `time` steps of every input leave each layer of `model` the steps that it takes.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Shape`], with the layer, if they are too few or too many for one.
#[cfg(feature = "testing")]
pub fn check_steps(model: &Model, time: usize) -> Result<()> {
    model.check_steps(|_| time).map_err(Misfit::error)
}

/// Returns a number of steps that `model` takes: `more` than the fewest, or the fewest if it takes no more.
#[cfg(feature = "testing")]
pub fn steps_over(model: &Model, more: usize) -> usize {
    let fewest = model.fewest_steps();
    let wanted = fewest.saturating_add(more);
    match model.check_steps(|_| wanted) {
        Ok(()) | Err(Misfit::Wrong(_)) => wanted,
        Err(Misfit::Few(_) | Misfit::Many(_)) => fewest,
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::model::{Conv1d, Flatten, Gru, Reduce, Repeat, WindowPool};

    #[test]
    fn the_fewest_steps_pass_every_window() {
        let pooled = Model::new().layer(Conv1d::new(2, 3, 5)).layer(WindowPool::new(Reduce::Max, 4));
        for (model, fewest) in [
            (Model::new().layer(Gru::new(2, 3)), 1),
            (Model::new().layer(Conv1d::new(2, 3, 5).dilation(3)), 13),
            (pooled.clone().layer(Gru::new(3, 2)), 8),
            (pooled.clone().layer(WindowPool::new(Reduce::Max, 3)), 16),
            (pooled.clone().layer(Flatten::new(2)).layer(Repeat::new(9)), 12),
        ] {
            assert_eq!((model.fewest_steps(), steps_over(&model, 0)), (fewest, fewest), "{model:?}");
        }
        assert_eq!(steps_over(&pooled, 32), 40);
        assert_eq!(steps_over(&pooled.clone().layer(Flatten::new(2)), 32), 12);
        let error = check_steps(&pooled, 7).unwrap_err().to_string();
        assert_eq!(
            error,
            "layer 1 window_pool: expected at least 4 steps with the padding, which its window spans, got 3"
        );
    }
}
