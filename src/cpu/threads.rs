//! Whether a kernel's work is worth more than one thread, and how it is cut.

use super::tune::{COPIED_BYTES_PER_NS, FLOPS_PER_NS, GATES_PER_NS, WEIGHT_BYTES_PER_NS, WORTH_NS};
use crate::platform::parallel;

/// Returns how long one thread takes for a product of `rows` rows with `weights` weights.
pub(super) fn product_ns(rows: usize, weights: usize) -> usize {
    (rows * weights * 2 / FLOPS_PER_NS).max(weights * 4 / WEIGHT_BYTES_PER_NS)
}

/// Returns how long one thread takes to write `elems` elements.
pub(super) fn copy_ns(elems: usize) -> usize {
    elems * 4 / COPIED_BYTES_PER_NS
}

/// Returns how long one thread takes for a cell's functions of `elems` gates.
pub(super) fn pointwise_ns(elems: usize) -> usize {
    elems / GATES_PER_NS
}

/// Returns how many threads work of `ns` nanoseconds is worth.
pub(super) fn worth(ns: usize) -> usize {
    if ns < WORTH_NS { 1 } else { (2 * ns / WORTH_NS).min(parallel::current_num_threads()) }
}

/// Runs `lead` on this thread, and `help` on up to `helpers` other threads of the pool:
/// those that become free before `lead` returns. So nothing waits for a busy thread.
pub(super) fn beside(helpers: usize, lead: impl FnOnce() + Send, help: &(impl Fn() + Sync)) {
    match helpers {
        0 => lead(),
        _ => drop(parallel::join(lead, || call(helpers, help))),
    }
}

fn call(helpers: usize, help: &(impl Fn() + Sync)) {
    match helpers {
        1 => help(),
        _ => drop(parallel::join(help, || call(helpers - 1, help))),
    }
}
