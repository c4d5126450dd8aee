//! What the system under the library gives: a clock, waiting, threads and memory. In a browser each of them is another.
//!
//! The one place that asks for them, so that nobody else asks what it is compiled for to get them. A page has one thread,
//! which must not wait: rayon's work runs there, in order, and what blocks is left out of the build. Knows nothing of ours
//! but errors.

use std::fmt;

use crate::error::Result;

pub(crate) use std::thread::{panicking, yield_now};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use std::time::Instant;
#[cfg(target_arch = "wasm32")]
pub(crate) use web_time::Instant;

/// Work for all threads of the caller's pool: in a browser its one thread does it.
pub(crate) mod parallel {
    pub(crate) use rayon::prelude::*;
    pub(crate) use rayon::{current_num_threads, join, scope};
}

/// Waits for `future` in this thread.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

/// Does `work`, which may block, in a thread of its own: the future sleeps meanwhile. `None` where the thread ended without
/// a result.
///
/// # Errors
///
/// Kind `Device`, where the system gives no thread.
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<Option<T>> {
    use crate::error::{Error, ErrorKind};

    let (tell, told) = futures_intrusive::channel::shared::oneshot_channel();
    let thread = std::thread::Builder::new().name("gatewave wait".to_owned());
    let spawned = thread.spawn(move || drop(tell.send(work())));
    spawned.map_err(|e| Error::new(ErrorKind::Device, format!("no thread to wait in: {e}")).because(e))?;
    Ok(told.receive().await)
}

/// What `make` makes of each of `items`, in their order: all threads at once, where there are several.
///
/// # Errors
///
/// That of any of them.
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub(crate) async fn each_of<'a, T: Sync, R: Send, F: Future<Output = Result<R>>>(
    items: &'a [T],
    make: impl Fn(&'a T) -> F + Sync,
) -> Result<Vec<R>> {
    use parallel::*;

    items.par_iter().map(|item| block_on(make(item))).collect()
}

/// What `make` makes of each of `items`, in their order: one after the other, since nothing may block.
///
/// # Errors
///
/// That of the first of them.
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

/// What `work` gives; `None` where it panics. A browser's build cannot catch a panic: there it ends the module.
#[cfg(any(test, feature = "gpu"))]
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}

/// Whether the system gives `bytes` in one piece. One that promises memory it may not have still refuses more than all
/// of it, and says so here before many smaller pieces are promised one by one.
///
/// # Errors
///
/// Kind `Limits`.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn affordable(what: impl fmt::Display, bytes: u64, hint: &str) -> Result<()> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    // An allocation that nobody looks at would be optimized away.
    crate::error::zeros::<u8>(what, &[bytes], hint).map(|memory| drop(std::hint::black_box(memory)))
}

/// Whether `bytes` can be addressed. The memory of a module never shrinks, so that to try would be to take it for good.
///
/// # Errors
///
/// Kind `Limits`.
#[cfg(target_arch = "wasm32")]
pub(crate) fn affordable(what: impl fmt::Display, bytes: u64, hint: &str) -> Result<()> {
    // Most that one allocation may be: more is refused before any memory is taken.
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
