//! Work in a system with one thread, such as a browser: it is done when it is polled.

use crate::error::Result;

/// Returns whether polled work may compute; it always may, since there is no other thread.
pub(crate) fn waits() -> bool {
    true
}

/// Work that is already done.
#[derive(Debug)]
pub(crate) struct Aside<T>(Option<T>);

impl<T> Aside<T> {
    /// Returns the result of the work, once.
    pub(crate) async fn ended(&mut self) -> T {
        self.0.take().expect("it is asked once")
    }
}

/// Does `work`.
pub(crate) fn begin_aside<T>(work: impl FnOnce() -> T) -> Result<Aside<T>> {
    Ok(Aside(Some(work())))
}

/// Does nothing: there are no other tasks to yield to.
pub(crate) async fn breathe() {}

/// Does `work`.
pub(crate) async fn compute<T>(work: impl FnOnce() -> T) -> Result<T> {
    Ok(work())
}

/// The one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads;

impl Threads {
    pub(crate) fn of_caller() -> Self {
        Self
    }

    pub(crate) fn pool(self) -> Result<Pool> {
        Ok(Pool::OfCaller)
    }
}

/// The pool of the one thread.
#[derive(Debug)]
pub(crate) enum Pool {
    OfCaller,
}

impl Pool {
    /// Does `work`.
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let Self::OfCaller = self;
        work()
    }
}
