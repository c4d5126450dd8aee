//! What the CPU executor takes a machine to be good for. How a plan is cut for the host is `plan/tune.rs`.
//!
//! The numbers are measured on two cores of a Zen 4 server; they need to be right within a factor of two only.

use std::time::Duration;

/// What one core does in a nanosecond, roughly: operations of a product, and bytes of weights from beyond its L1.
pub(super) const FLOPS_PER_NS: usize = 90;
pub(super) const WEIGHT_BYTES_PER_NS: usize = 90;
pub(super) const COPIED_BYTES_PER_NS: usize = 8;
pub(super) const GATES_PER_NS: usize = 2;
/// Nanoseconds that a logit takes, roughly.
pub(super) const LOGIT_NS: usize = 3;
/// Rows of a product that walk over all panels together: few enough to stay in a core's L2 beside a panel.
pub(super) const NEAR_ROWS: usize = 96;
/// Bytes of weights that a core's L2 keeps from step to step.
pub(super) const NEAR_BYTES: usize = 512 << 10;
/// Work below this costs less than waking a second thread for it.
pub(super) const WORTH_NS: usize = 30_000;

/// Fewest rows of the batch that are worth a member of their own: fewer, and units are split instead.
pub(super) const MEMBER_ROWS: usize = 12;
/// Nanoseconds of a member's part that are worth waiting for the others at each step.
pub(super) const EXCHANGE_NS: usize = 600;
/// How long a thread that is not asleep takes to come, at most: the leader waits no longer for it.
pub(super) const ARRIVAL: Duration = Duration::from_micros(20);
/// How long the leader works alone before it takes whoever has come.
pub(super) const GATHERING: Duration = Duration::from_micros(200);
/// Turns of a waiting loop before it gives way to other threads: some microseconds.
pub(super) const SPINS: usize = 500;
