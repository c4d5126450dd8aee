//! Waiting: whether the polling thread may block. If it may not, work runs in other threads.
//!
//! A thread that runs an executor of futures must not block: it serves other tasks meanwhile, and fires timers. A
//! future that computed while it is polled would hold all of them up. So such work runs aside, and the future sleeps. A
//! blocking call computes in its own thread, since waking another one takes time and memory.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, ErrorKind, Result};

thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Waits for `future` in this thread. Meanwhile [`waits`] is true here.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Before(bool);

    impl Drop for Before {
        fn drop(&mut self) {
            WAITS.set(self.0);
        }
    }

    let _before = Before(WAITS.replace(true));
    pollster::block_on(future)
}

/// Returns whether this thread polls for a blocking call: then polled work may compute
/// and wait. Otherwise an executor polls.
pub(crate) fn waits() -> bool {
    WAITS.get()
}

/// Work in a thread of its own.
#[derive(Debug)]
pub(crate) struct Aside<T: 'static>(OneshotReceiver<Ended<T>>);

/// The result of work, or its panic, which goes on in the thread that asks for the result.
type Ended<T> = std::result::Result<T, Box<dyn Any + Send>>;

impl<T: Send + 'static> Aside<T> {
    /// Returns the result of the work, once. If this future is dropped before it is ready,
    /// the result may be asked for again.
    ///
    /// # Panics
    ///
    /// Panics if the work did.
    pub(crate) async fn ended(&mut self) -> T {
        match self.0.receive().await {
            Some(Ok(result)) => result,
            Some(Err(panic)) => resume_unwind(panic),
            None => unreachable!("a thread tells how its work ended, and it is asked once"),
        }
    }
}

/// Begins `work`, which may block, in a thread of its own. It goes on even if the returned value is dropped.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Device` if the system gives no thread.
pub(crate) fn begin_aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<Aside<T>> {
    let (tell, told) = oneshot_channel();
    let thread = std::thread::Builder::new().name("gatewave aside".to_owned());
    // If nobody waits for the result any more, it is dropped here.
    let spawned = thread.spawn(move || drop(tell.send(catch_unwind(AssertUnwindSafe(work)))));
    spawned.map_err(|e| Error::new(ErrorKind::Device, format!("no thread to work in: {e}")).because(e))?;
    Ok(Aside(told))
}

/// Yields once to other tasks of the executor.
pub(crate) async fn breathe() {
    let mut was_here = false;
    let turn = |context: &mut Context<'_>| match mem::replace(&mut was_here, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    };
    poll_fn(turn).await;
}

/// Computes `work`: in this thread if it [`waits`], else aside, in a pool of threads.
///
/// # Errors
///
/// As [`begin_aside`].
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if waits() {
        return Ok(work());
    }
    let threads = Threads::of_caller();
    begin_aside(move || Ok(threads.pool()?.enter(work)))?.ended().await
}

/// How many threads may compute work aside: as many as the caller's pool has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Threads(Option<usize>);

impl Threads {
    /// Takes the number from the pool that this thread belongs to, or else from the global one.
    pub(crate) fn of_caller() -> Self {
        // Asking the global pool for its number would start its threads.
        Self(rayon::current_thread_index().map(|_| rayon::current_num_threads()))
    }

    /// Returns a pool of that many threads, which only runs work that is computed aside.
    ///
    /// It is not the caller's pool: threads of that pool may wait for this very work, in the worst case all of them.
    /// With `use_current_thread` on one core, its only thread does.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Device` if the system gives no threads.
    pub(crate) fn pool(self) -> Result<Pool> {
        static POOLS: Mutex<BTreeMap<usize, Arc<ThreadPool>>> = Mutex::new(BTreeMap::new());
        let threads = self.0.unwrap_or_else(rayon::current_num_threads);
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&threads) {
            return Ok(Pool::Aside(Arc::clone(pool)));
        }
        let name = |index| format!("gatewave aside {index}");
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
        let pool = Arc::new(pool.map_err(|e| Error::new(ErrorKind::Device, format!("no threads: {e}")).because(e))?);
        pools.insert(threads, Arc::clone(&pool));
        Ok(Pool::Aside(pool))
    }
}

/// The pool whose threads share work.
#[derive(Debug)]
pub(crate) enum Pool {
    /// The pool that the calling thread belongs to, or else the global one.
    OfCaller,
    /// A pool for work that is computed aside.
    Aside(Arc<ThreadPool>),
}

impl Pool {
    /// Does `work` inside the pool.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Self::OfCaller => work(),
            Self::Aside(pool) => pool.install(work),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_thread_waits_while_it_blocks() {
        assert_eq!((waits(), block_on(async { waits() }), waits()), (false, true, false));
        let inside = || {
            block_on(async {});
            waits()
        };
        assert!(block_on(async { inside() }));
    }

    #[test]
    fn what_is_computed_for_a_future_leaves_its_thread_alone() {
        let (open, gate) = mpsc::channel::<()>();
        let here = std::thread::current().id();
        let mut other = pin!(compute(move || (gate.recv(), std::thread::current().id() != here)));
        assert!(other.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        open.send(()).unwrap();
        assert_eq!(pollster::block_on(other).unwrap(), (Ok(()), true));
        assert_eq!(block_on(compute(move || std::thread::current().id())).unwrap(), here);
    }

    #[test]
    fn a_result_stays_where_a_future_is_dropped() {
        let (open, gate) = mpsc::channel::<()>();
        let mut begun = begin_aside(move || gate.recv().is_ok()).unwrap();
        assert!(pin!(begun.ended()).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        open.send(()).unwrap();
        assert!(pollster::block_on(begun.ended()));
    }

    #[test]
    fn a_panic_aside_goes_on_in_who_waits() {
        let work = || -> u32 { resume_unwind(Box::new("told")) };
        let panic = catch_unwind(|| pollster::block_on(compute(work))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"told"));
    }

    /// Its only thread waits for the work.
    #[test]
    fn a_pool_of_one_thread_may_wait_for_work() {
        let pool = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| pollster::block_on(compute(rayon::current_num_threads))).unwrap(), 1);
    }
}
