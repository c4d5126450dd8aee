//! Where the time of a run went, and the clock that says it.

use std::time::Duration;

use crate::platform::Instant;

/// Where the time of a run went. The rest of it is checks and planning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Compiling kernels that no call on the device has needed yet, and making the buffers of a shape: the first call's,
    /// and zero on the CPU.
    pub prepare: Duration,
    /// Laying out the input and handing it to the device.
    pub upload: Duration,
    /// The device's work.
    pub compute: Duration,
    /// Getting the results back and laying them out.
    pub readback: Duration,
}

impl From<crate::gpu::Timings> for Timings {
    fn from(gpu: crate::gpu::Timings) -> Self {
        let duration = |us: f64| Duration::try_from_secs_f64(us * 1e-6).unwrap_or_default();
        Self {
            prepare: duration(gpu.prepare_us),
            upload: duration(gpu.upload_us),
            compute: duration(gpu.compute_us),
            readback: duration(gpu.readback_us),
        }
    }
}

impl Timings {
    /// The same and `other` together.
    pub(super) fn add(&mut self, other: Self) {
        self.prepare += other.prepare;
        self.upload += other.upload;
        self.compute += other.compute;
        self.readback += other.readback;
    }
}

/// Does `work` and adds what it took to `total`.
pub(super) fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}
