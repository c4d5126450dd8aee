//! An index that needs no allocation.

use std::fmt;
use std::ops::Deref;

/// The lengths of the caller's axes, or an index along them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct AxisIndex {
    axes: [usize; 3],
    len: usize,
}

impl AxisIndex {
    pub(super) fn of(axes: &[usize]) -> Self {
        let mut own = [0; 3];
        own[..axes.len()].copy_from_slice(axes);
        Self { axes: own, len: axes.len() }
    }

    /// Appends the axis of features.
    pub(super) fn and(mut self, feature: usize) -> Self {
        self.axes[self.len] = feature;
        self.len += 1;
        self
    }
}

impl Deref for AxisIndex {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.axes[..self.len]
    }
}

impl fmt::Debug for AxisIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
