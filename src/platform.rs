//! What the system under the library gives: a clock, waiting, threads and memory. A browser has a variant of each.
//!
//! Only this module asks the system for them, so no other module depends on the compilation target. A
//! page has one thread, which must not block: rayon's work runs on it, in order, and blocking functions
//! are left out of the build. Knows nothing of the crate but errors.

#[cfg(not(target_arch = "wasm32"))]
mod aside;
#[cfg(target_arch = "wasm32")]
mod in_place;

use std::fmt;

use crate::error::Result;

pub(crate) use std::thread::{panicking, yield_now};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use std::time::Instant;
#[cfg(target_arch = "wasm32")]
pub(crate) use web_time::Instant;

/// Work for all threads of the caller's pool; in a browser its one thread does all of it.
pub(crate) mod parallel {
    pub(crate) use rayon::prelude::*;
    pub(crate) use rayon::{current_num_threads, join, scope};
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use aside::{Aside, Pool, Threads, begin_aside, block_on, breathe, compute, waits};
#[cfg(target_arch = "wasm32")]
pub(crate) use in_place::{Aside, Pool, Threads, begin_aside, breathe, compute, waits};

/// Returns what `make` makes of each of `items`, in their order. All threads of the pool work at once.
///
/// # Errors
///
/// Returns the error of any of them.
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub(crate) async fn each_of<'a, T: Sync, R: Send, F: Future<Output = Result<R>>>(
    items: &'a [T],
    make: impl Fn(&'a T) -> F + Sync,
) -> Result<Vec<R>> {
    use parallel::*;

    items.par_iter().map(|item| block_on(make(item))).collect()
}

/// Returns what `make` makes of each of `items`, in their order: one after the other, since nothing may block.
///
/// # Errors
///
/// Returns the first error among them.
#[cfg(all(feature = "gpu", target_arch = "wasm32"))]
pub(crate) async fn each_of<'a, T, R, F: Future<Output = Result<R>>>(
    items: &'a [T],
    make: impl Fn(&'a T) -> F,
) -> Result<Vec<R>> {
    let mut made = Vec::with_capacity(items.len());
    for item in items {
        made.push(make(item).await?);
    }
    Ok(made)
}

/// Returns the result of `work`, or `None` if it panics. A browser's build
/// cannot catch a panic: there it ends the module.
#[cfg(any(test, feature = "gpu", feature = "foreign"))]
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}

/// Checks whether the system gives `bytes` in one piece. A system that overcommits still refuses more than all of its
/// memory. So it says so here, before it promises many smaller pieces one by one.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Limits` if it refuses.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn affordable(what: impl fmt::Display, bytes: u64, hint: &str) -> Result<()> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    // An allocation that nobody looks at would be optimized away.
    crate::error::zeros::<u8>(what, &[bytes], hint).map(|memory| drop(std::hint::black_box(memory)))
}

/// Checks whether `bytes` can be addressed. The memory of a module never
/// shrinks, so a trial allocation would take it for good.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Limits` if they cannot.
#[cfg(target_arch = "wasm32")]
pub(crate) fn affordable(what: impl fmt::Display, bytes: u64, hint: &str) -> Result<()> {
    // The most that one allocation may be: more is refused before any memory is taken.
    if bytes <= isize::MAX as u64 { Ok(()) } else { crate::error::zeros::<u8>(what, &[usize::MAX], hint).map(drop) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, SMALLER_MODEL};

    #[test]
    fn memory_that_is_not_there_is_an_error_before_it_is_asked_for_in_pieces() {
        let error = affordable("weights", 1 << 61, SMALLER_MODEL).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limits);
        assert!(affordable("weights", 1 << 10, SMALLER_MODEL).is_ok());
    }

    #[test]
    fn a_panic_is_caught() {
        assert_eq!(caught(|| 1), Some(1));
        assert_eq!(caught(|| std::panic::resume_unwind(Box::new(()))), None::<()>);
    }
}
