//! Which inputs have their steps in common, and the lengths of their rows.
//!
//! Inputs whose values meet step by step have one time axis. What slices or joins steps has an axis of its own. Knows no link and no node.

use std::collections::HashMap;

use super::misfit;
use crate::error::Result;

/// From this number on, axes are no inputs'.
const DERIVED: usize = usize::MAX / 2;

/// Groups of inputs, each of which has one time axis.
#[derive(Default)]
pub(super) struct Times {
    /// Of an input that is not the first of its group, one nearer to it.
    nearer: HashMap<usize, usize>,
    /// Of the first of a group, the input that holds its lengths, or none: the same for all its recurrent nodes.
    lengths: HashMap<usize, Option<usize>>,
    /// How many axes are no inputs'.
    derived: usize,
}

impl Times {
    /// The first input of the group of `input`.
    pub(super) fn first(&self, mut input: usize) -> usize {
        while let Some(&nearer) = self.nearer.get(&input) {
            input = nearer;
        }
        input
    }

    /// A time axis that is no input's.
    pub(super) fn derived(&mut self) -> usize {
        self.derived += 1;
        DERIVED + self.derived
    }

    /// Whether no input has axis `axis`.
    pub(super) fn is_derived(&self, axis: usize) -> bool {
        self.first(axis) >= DERIVED
    }

    /// Says that `a` and `b` have one time axis.
    pub(super) fn unite(&mut self, a: usize, b: usize) -> Result<()> {
        let (x, y) = (self.first(a), self.first(b));
        let (first, other) = (x.min(y), x.max(y));
        // The next way is short.
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

    /// Says which input holds the lengths of the group of `input`; `text` is the error where it was another.
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
