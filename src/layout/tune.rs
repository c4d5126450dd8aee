//! What a layout takes every device to have room and time for: it is made before one is known.

/// Bytes that an embedding's table may take, before and after it is folded with the input product behind it: a few
/// hundred times what a layer's weights take, and still quickly read.
pub(super) const FOLD_BYTES: u64 = 64 << 20;

/// Products that folding may take: some tenths of a second, once.
pub(super) const FOLD_PRODUCTS: u64 = 1 << 31;

/// Bytes of the weights of a run, in 32-bit floats. A step over more than these takes far longer than its launch, which
/// is all that one dispatch for several layers saves; and a buffer should fit every device.
pub(super) const RUN_BYTES: u64 = 64 << 20;
