//! Which inputs have the same time axis, and the lengths of their rows.
//!
//! Inputs whose values are combined step by step have the same time axis. A layer
//! that slices or joins steps has an axis of its own. Knows no link and no node.

use std::collections::HashMap;

use super::misfit;
use crate::error::Result;

/// Axes from this number on do not belong to inputs.
const DERIVED: usize = usize::MAX / 2;

/// Groups of inputs with the same time axis.
#[derive(Default)]
pub(super) struct Times {
    /// For each input that is not the first of its group, one that is nearer to the first.
    nearer: HashMap<usize, usize>,
    /// For the first of each group, the input with its lengths, or
    /// none. It is the same for all recurrent nodes of the group.
    lengths: HashMap<usize, Option<usize>>,
    /// The number of axes that do not belong to inputs.
    derived: usize,
}

impl Times {
    /// Returns the first input of the group of `input`.
    pub(super) fn first(&self, mut input: usize) -> usize {
        while let Some(&nearer) = self.nearer.get(&input) {
            input = nearer;
        }
        input
    }

    /// Adds a time axis that does not belong to an input.
    pub(super) fn derived(&mut self) -> usize {
        self.derived += 1;
        DERIVED + self.derived
    }

    /// Whether axis `axis` does not belong to an input.
    pub(super) fn is_derived(&self, axis: usize) -> bool {
        self.first(axis) >= DERIVED
    }

    /// Records that `a` and `b` have the same time axis.
    pub(super) fn unite(&mut self, a: usize, b: usize) -> Result<()> {
        let (x, y) = (self.first(a), self.first(b));
        let (first, other) = (x.min(y), x.max(y));
        // Shortens the path for the next search.
        for far in [a, b, other].into_iter().filter(|&far| far != first) {
            self.nearer.insert(far, first);
        }
        if first == other {
            return Ok(());
        }
        match self.lengths.remove(&other) {
            Some(lengths) => self.tell(first, lengths, "expected one for all that meet step by step, got several"),
            None => Ok(()),
        }
    }

    /// Whether an input holds the lengths of the group of `input`.
    pub(super) fn has_lengths(&self, input: usize) -> bool {
        matches!(self.lengths.get(&self.first(input)), Some(Some(_)))
    }

    /// Records which input holds the lengths of the group of `input`. `text` is the error if it was another one.
    pub(super) fn tell(&mut self, input: usize, lengths: Option<usize>, text: &str) -> Result<()> {
        let first = self.first(input);
        if lengths.is_some() && first >= DERIVED {
            let text = "sequence_lens: expected none of steps that are sliced or joined, which no input has, got some";
            return Err(misfit(text.into()));
        }
        match *self.lengths.entry(first).or_insert(lengths) == lengths {
            true => Ok(()),
            false => Err(misfit(format!("sequence_lens: {text}"))),
        }
    }
}
