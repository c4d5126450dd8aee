//! The GPU executor's assumptions about devices. `plan/tune.rs` decides how a plan is cut for a GPU.

/// Dispatches of one submission. Further ones are recorded while the first compute.
pub(super) const SUBMIT: usize = 16_384;

/// Bytes of weights that are staged before the queue gets them.
pub(super) const CHUNK: usize = 16 << 20;

/// Submissions whose uploads may be under way at a time.
pub(super) const RING: usize = 3;

/// The most workgroups that a self-check tries. Each exchange takes longer with more of them. A GPU
/// that has one workgroup on each multiprocessor, with its registers full, has some tens of them.
pub(crate) const MOST_CO_RESIDENT: u32 = 64;
