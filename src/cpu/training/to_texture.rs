//! `to_texture`: numbers of a buffer, copied to the slot that a GPU has as a texture.

use crate::cpu::buffers::Bound;
use crate::cpu::threads;
use crate::kernel::{Params, Role};

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(p: &Params) -> usize {
    threads::copy_ns(p.count as usize)
}

/// Runs a dispatch.
pub(super) fn run(bound: &mut Bound<'_>) {
    let (first, count) = (bound.params.offset as usize, bound.params.count as usize);
    bound.write(Role::Result, |bound, result| {
        result[..count].copy_from_slice(&bound.floats(Role::Source)[first..][..count]);
    });
}
