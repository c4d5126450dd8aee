//! The CPU executor's assumptions about machines. `plan/tune.rs` decides how a plan is cut for the host.
//!
//! The numbers were measured on two cores of a Zen 4 server. They only need to be right within a factor of two.

use std::time::Duration;

/// The rough speed of one core in a nanosecond: operations of a product, and bytes of weights from beyond its L1.
pub(super) const FLOPS_PER_NS: usize = 90;
pub(super) const WEIGHT_BYTES_PER_NS: usize = 90;
pub(super) const COPIED_BYTES_PER_NS: usize = 8;
pub(super) const GATES_PER_NS: usize = 2;
/// The rough time of a logit, in nanoseconds.
pub(super) const LOGIT_NS: usize = 3;
/// Rows of a product that walk over all panels together: few enough to stay in a core's L2 beside a panel.
pub(super) const NEAR_ROWS: usize = 96;
/// Bytes of weights that a core's L2 keeps from step to step.
pub(super) const NEAR_BYTES: usize = 512 << 10;
/// Shorter work costs less than waking a second thread for it.
pub(super) const WORTH_NS: usize = 30_000;

/// The fewest rows of the batch that are worth a worker. With fewer, units are split instead.
pub(super) const WORKER_ROWS: usize = 12;
/// The shortest part of a worker, in nanoseconds, that is worth waiting for the others at each step.
pub(super) const EXCHANGE_NS: usize = 600;
/// The longest time in which an awake thread joins: the leader waits no longer for it.
pub(super) const ARRIVAL: Duration = Duration::from_micros(20);
/// How long the leader works alone before it starts with the threads that have come.
pub(super) const GATHERING: Duration = Duration::from_micros(200);
/// Turns of a waiting loop before it yields to other threads: some microseconds.
pub(super) const SPINS: usize = 500;
