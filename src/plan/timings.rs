//! Where the time of a run went, and the stopwatch that measures it.

use std::time::Duration;

use crate::platform::Instant;

/// Where the time of a run went. The rest of the time is checks and planning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Compiling kernels that no call on the device has needed yet, and making the buffers
    /// of a shape. Only the first call spends this time, and on the CPU it is zero.
    pub prepare: Duration,
    /// Laying out the input and handing it to the device.
    pub upload: Duration,
    /// The device's work.
    pub compute: Duration,
    /// Copying the results back and laying them out.
    pub readback: Duration,
}

impl Timings {
    /// Adds the times of `other`.
    pub(crate) fn add(&mut self, other: Self) {
        self.prepare += other.prepare;
        self.upload += other.upload;
        self.compute += other.compute;
        self.readback += other.readback;
    }
}

/// A stopwatch of laps.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins the first lap.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Ends the lap, returns its time, and begins the next one.
    pub(crate) fn lap(&mut self) -> Duration {
        let last = std::mem::replace(&mut self.0, Instant::now());
        self.0 - last
    }
}
