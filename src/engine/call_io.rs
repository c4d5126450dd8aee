//! Rows of a call as the host's side of a plan: written where the plan reads them, and read where it wrote results.
//!
//! Knows calls and the two ends of the road around an executor; knows no device.

use std::ops::Range;

use crate::call::Call;
use crate::error::Result;
use crate::feed::{Decoder, encode};
use crate::model::Model;
use crate::plan::{HostIo, Read, Stopwatch, Timings, Write};

/// Some rows of a call.
pub(super) struct CallIo<'a, 'c, 'm> {
    pub(super) call: &'a Call<'c>,
    pub(super) model: &'a Model,
    pub(super) rows: Range<usize>,
    /// Takes the results; `None` for a trace, whose results are not used.
    pub(super) decoder: Option<&'a mut Decoder<'m>>,
}

impl HostIo for CallIo<'_, '_, '_> {
    fn write(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        encode(self.call, self.model, self.rows.clone(), write.feed, words);
        Ok(())
    }

    fn read(&mut self, read: Read, data: &[f32]) {
        if let Some(decoder) = &mut self.decoder {
            decoder.decode(read, &self.rows, data);
        }
    }
}

/// The host's side of a run, which measures its own time apart from that of the executor.
pub(super) struct TimedIo<'a> {
    io: &'a mut dyn HostIo,
    timings: Timings,
    whole: Stopwatch,
}

impl<'a> TimedIo<'a> {
    /// Starts to measure `io`.
    pub(super) fn begin(io: &'a mut dyn HostIo) -> Self {
        Self { io, timings: Timings::default(), whole: Stopwatch::start() }
    }

    /// Returns where the time went since then.
    pub(super) fn end(mut self) -> Timings {
        let Timings { upload, readback, .. } = self.timings;
        Timings { compute: self.whole.lap().saturating_sub(upload + readback), ..self.timings }
    }
}

impl HostIo for TimedIo<'_> {
    fn write(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        let mut watch = Stopwatch::start();
        let given = self.io.write(write, words);
        self.timings.upload += watch.lap();
        given
    }

    fn read(&mut self, read: Read, data: &[f32]) {
        let mut watch = Stopwatch::start();
        self.io.read(read, data);
        self.timings.readback += watch.lap();
    }
}
