//! What the GPU executor takes a device to be good for. How a plan is cut for a GPU is `plan/tune.rs`.

/// Dispatches of one submit: more of them are recorded while the first compute.
pub(super) const SUBMIT: usize = 16_384;

/// Bytes of weights that are staged before the queue gets them.
pub(super) const CHUNK: usize = 16 << 20;

/// Submits whose uploads may be under way at a time.
pub(super) const RING: usize = 3;

/// More workgroups than these are not tried: each exchange takes longer, and a GPU that has one workgroup a multiprocessor,
/// with its registers full, has some tens of them.
pub(crate) const MOST_RESIDENT: u32 = 64;
