//! Whether a kernel's work is worth more than one thread, and how it is cut for them.

use super::tune::{COPIED_BYTES_PER_NS, FLOPS_PER_NS, GATES_PER_NS, WEIGHT_BYTES_PER_NS, WORTH_NS};
use crate::platform::parallel;

/// How long one thread takes for a product of `rows` rows with weights of `weights` elements.
pub(super) fn product_ns(rows: usize, weights: usize) -> usize {
    (rows * weights * 2 / FLOPS_PER_NS).max(weights * 4 / WEIGHT_BYTES_PER_NS)
}

/// How long one thread takes to write `elems` elements.
pub(super) fn copy_ns(elems: usize) -> usize {
    elems * 4 / COPIED_BYTES_PER_NS
}

/// How long one thread takes for the functions that a cell puts `elems` gates through.
pub(super) fn pointwise_ns(elems: usize) -> usize {
    elems / GATES_PER_NS
}

/// How many threads work of `ns` nanoseconds is worth.
pub(super) fn worth(ns: usize) -> usize {
    if ns < WORTH_NS { 1 } else { (2 * ns / WORTH_NS).min(parallel::current_num_threads()) }
}

/// Runs `lead` on this thread, and `help` on up to `helpers` others of the pool: on each that has nothing else to do
/// before `lead` returns. So nobody waits for a thread that is busy.
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
