//! Rows of a call as a plan's caller: laid out where the plan reads them, its results cut out where it wrote them.
//!
//! Knows calls and the two ends of the road around an executor; knows no device.

use std::ops::Range;
use std::time::Duration;

use crate::call::Call;
use crate::error::Result;
use crate::feed::{Decoder, encode};
use crate::model::Model;
use crate::plan::{Caller, Read, Write};

use super::timings::{Timings, timed};

/// Some rows of a call.
pub(super) struct Exchange<'a, 'c, 'm> {
    pub(super) call: &'a Call<'c>,
    pub(super) model: &'a Model,
    pub(super) rows: Range<usize>,
    /// Who takes the results; nobody takes those of a trace.
    pub(super) decoder: Option<&'a mut Decoder<'m>>,
}

impl Caller for Exchange<'_, '_, '_> {
    fn give(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        encode(self.call, self.model, self.rows.clone(), write.feed, words);
        Ok(())
    }

    fn take(&mut self, read: Read, data: &[f32]) {
        if let Some(decoder) = &mut self.decoder {
            decoder.decode(read, &self.rows, data);
        }
    }
}

/// A caller whose own time is told apart from that of whoever computes.
pub(super) struct Watched<'a> {
    caller: &'a mut dyn Caller,
    timings: Timings,
}

impl<'a> Watched<'a> {
    /// Runs `work` with `caller`: where the time went.
    pub(super) fn run(caller: &'a mut dyn Caller, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<Timings> {
        let mut watched = Self { caller, timings: Timings::default() };
        let mut whole = Duration::ZERO;
        timed(&mut whole, || work(&mut watched))?;
        let Timings { upload, readback, .. } = watched.timings;
        Ok(Timings { compute: whole.saturating_sub(upload + readback), ..watched.timings })
    }
}

impl Caller for Watched<'_> {
    fn give(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        timed(&mut self.timings.upload, || self.caller.give(write, words))
    }

    fn take(&mut self, read: Read, data: &[f32]) {
        timed(&mut self.timings.readback, || self.caller.take(read, data));
    }
}
