//! The classes of the targets of a dataset, counted.

use ndarray::s;

use super::Dataset;
use crate::error::{ErrorKind, Result};
use crate::loss::{Aimed, Loss};
use crate::recipe::balanced;

/// The rows that are laid out at once.
const ROWS: usize = 256;

impl Dataset {
    /// Counts how many rows have each class, or live steps if the output has steps. Targets that are ignored do not
    /// count, and neither do those with a sample weight of 0. A binary cross-entropy has two classes,
    /// no and yes, and each feature counts. Returns none if the objective is not one loss of classes.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`batch`](Self::batch).
    pub fn class_counts(&self) -> Result<Option<Vec<u64>>> {
        let Some(classes) = self.classes()? else { return Ok(None) };
        let mut counts = vec![0; classes];
        self.each_class(|class| {
            if let Some(count) = counts.get_mut(class) {
                *count += 1;
            }
            true
        })?;
        Ok(Some(counts))
    }

    /// Returns a weight for each class, so that all count alike: `all / (classes · those of the class)` (scikit-learn's
    /// `balanced`), or 1 for a class that nothing has. Returns none where [`class_counts`](Self::class_counts) does.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`batch`](Self::batch).
    pub fn balanced_class_weights(&self) -> Result<Option<Vec<f32>>> {
        Ok(self.class_counts()?.map(|counts| balanced(&counts)))
    }

    /// Returns the class that all targets have, if they have only one: such
    /// examples are no measure of a model. Goes on until it sees another class.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`batch`](Self::batch).
    pub fn only_class(&self) -> Result<Option<usize>> {
        let (mut first, mut is_only) = (None, true);
        if self.classes()?.is_some() {
            self.each_class(|class| {
                is_only = *first.get_or_insert(class) == class;
                is_only
            })?;
        }
        Ok(first.filter(|_| is_only))
    }

    /// Returns how many classes the objective tells apart, if it is one loss of classes.
    fn classes(&self) -> Result<Option<usize>> {
        let [term] = self.objective.terms() else { return Ok(None) };
        match &term.loss {
            Loss::CrossEntropy(_) => {
                let measured = self.objective.measured(&self.model)?;
                Ok(measured.first().map(|measured| measured.flow.features().len()))
            }
            Loss::BinaryCrossEntropy(_) => Ok(Some(2)),
            _ => Ok(None),
        }
    }

    /// Calls `each` with the class of every target that counts, until it returns false.
    fn each_class(&self, mut each: impl FnMut(usize) -> bool) -> Result<()> {
        let all: Vec<usize> = (0..self.rows()).collect();
        for rows in all.chunks(ROWS) {
            let batch = self.laid_out(rows, &[])?;
            let call = batch.input.check(&self.model).map_err(|e| self.by_row(e, rows))?;
            let aims = match self.objective.check(&self.model, &call, &batch.targets) {
                Ok(aims) => aims,
                // Nothing counts in these rows.
                Err(error) if error.kind() == ErrorKind::Training => continue,
                Err(error) => return Err(self.by_row(error, rows)),
            };
            let Some(aim) = aims.first() else { return Ok(()) };
            for ((t, b), _) in aim.counts.indexed_iter().filter(|(_, weight)| **weight > 0.0) {
                let goes_on = match &aim.aimed {
                    Aimed::Classes(classes) => each(classes[[t, b]] as usize),
                    Aimed::Values(values) => {
                        values.slice(s![t, b, ..]).iter().all(|value| each(usize::from(*value > 0.5)))
                    }
                    Aimed::None => false,
                };
                if !goes_on {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
