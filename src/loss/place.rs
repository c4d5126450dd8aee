//! An index that asks for no memory.

use std::fmt;
use std::ops::Deref;

/// Sizes of the user's axes, or an index along them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    axes: [usize; 3],
    len: usize,
}

impl Place {
    pub(super) fn of(axes: &[usize]) -> Self {
        let mut own = [0; 3];
        own[..axes.len()].copy_from_slice(axes);
        Self { axes: own, len: axes.len() }
    }

    /// The same with the axis of features.
    pub(super) fn and(mut self, feature: usize) -> Self {
        self.axes[self.len] = feature;
        self.len += 1;
        self
    }
}

impl Deref for Place {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.axes[..self.len]
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
