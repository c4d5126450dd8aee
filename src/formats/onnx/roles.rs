//! The roles of the inputs' axes: time, batch or features, as far as nodes have shown.
//!
//! Axes of several inputs that must be the same are united. Knows no link and no node.

use super::misfit;
use crate::error::Result;
use crate::model::Dim;

/// The axes of all inputs, one input after the other.
#[derive(Default)]
pub(super) struct Roles {
    axes: Vec<OfAxis>,
}

struct OfAxis {
    input: usize,
    /// An earlier axis that is the same, or this axis itself.
    same: usize,
    /// The role, recorded in the first of the axes that are the same.
    dim: Option<Dim>,
}

impl Roles {
    /// Adds the `count` axes of input `input`, and returns the index of the first.
    pub(super) fn add(&mut self, input: usize, count: usize) -> usize {
        let first = self.axes.len();
        self.axes.extend((first..first + count).map(|same| OfAxis { input, same, dim: None }));
        first
    }

    fn first(&self, mut axis: usize) -> usize {
        while self.axes[axis].same != axis {
            axis = self.axes[axis].same;
        }
        axis
    }

    /// Returns the role of axis `axis`.
    pub(super) fn dim(&self, axis: usize) -> Option<Dim> {
        self.axes[self.first(axis)].dim
    }

    /// Records that axis `axis` is `dim`, unless it has a role already, and returns its role.
    pub(super) fn tell(&mut self, axis: usize, dim: Dim) -> Result<Dim> {
        let input = self.axes[axis].input;
        let before = self.axes[..axis].iter().rposition(|other| other.input != input).map_or(0, |last| last + 1);
        let own = (before..self.axes.len()).take_while(|&other| self.axes[other].input == input);
        if own.into_iter().any(|other| other != axis && self.dim(other) == Some(dim)) {
            return Err(misfit(format!("another axis of the input is {dim:?}")));
        }
        let first = self.first(axis);
        Ok(*self.axes[first].dim.get_or_insert(dim))
    }

    /// Records that axes `a` and `b` are the same.
    pub(super) fn unite(&mut self, a: usize, b: usize) -> Result<()> {
        let (x, y) = (self.first(a), self.first(b));
        let (first, other) = (x.min(y), x.max(y));
        let dim = match (self.axes[first].dim, self.axes[other].dim) {
            (Some(a), Some(b)) if a != b => {
                return Err(misfit(format!("expected {a:?} in an axis that is {b:?}: are time and batch swapped?")));
            }
            (a, b) => a.or(b),
        };
        self.axes[first].dim = dim;
        // Shortens the path for the next search.
        for axis in [a, b, other] {
            self.axes[axis].same = first;
        }
        Ok(())
    }
}
