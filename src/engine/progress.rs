//! Progress of loading, for callers that want to show it.

use std::fmt;
use std::sync::Arc;

/// How far the weights of a model are on their way to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loading {
    /// Bytes loaded so far.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// A callback for the progress of loading, at its beginning and after each buffer.
/// [`EngineBuilder::progress`](super::EngineBuilder::progress) makes one; by default there is none.
#[derive(Clone, Default)]
pub(super) struct Progress(Option<Arc<dyn Fn(Loading) + Send + Sync>>);

impl Progress {
    /// Calls `tell`.
    pub(super) fn to(tell: impl Fn(Loading) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(super) fn tell(&self, loading: Loading) {
        if let Some(tell) = &self.0 {
            tell(loading);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(told)" } else { "Progress(untold)" })
    }
}

impl PartialEq for Progress {
    /// Whether both call the same function.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Progress {}
