//! Limits of a layout. It is made before a device is known, so it assumes what every device has room and time for.

/// The most bytes of an embedding's table, before and after it is folded with the input product behind it. That is a
/// few hundred times the weights of a layer, and still quick to read.
pub(super) const FOLD_BYTES: u64 = 64 << 20;

/// The most products for folding: a few tenths of a second, once.
pub(super) const FOLD_PRODUCTS: u64 = 1 << 31;

/// The most bytes of the weights of a run, in 32-bit floats. A step over more than these takes far longer than its
/// launch, and launches are all that a shared dispatch saves. A buffer should also fit every device.
pub(super) const RUN_BYTES: u64 = 64 << 20;
