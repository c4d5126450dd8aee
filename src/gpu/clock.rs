//! The device's own clock, if times are wanted: a tick before and after consecutive dispatches of one program.
//!
//! Such dispatches are their own pass, since not every device can time parts of a pass. Knows programs by their index.

use std::ops::Range;
use std::time::Duration;

use super::device::Device;
use super::readback::Source;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Dispatch, Spent};

/// Queries of a set: the most that WebGPU allows.
const QUERIES: u32 = wgpu::QUERY_SET_MAX_QUERIES;
/// Laps of a set: each has a tick at its start and one at its end.
const LAPS: usize = QUERIES as usize / 2;
const TICK_BYTES: u64 = wgpu::QUERY_SIZE as u64;

/// Consecutive dispatches of one program.
pub(super) struct Lap {
    program: usize,
    pub(super) calls: Range<usize>,
}

/// The queries of a plan's laps.
pub(super) struct Clock {
    /// The program of each lap.
    programs: Vec<usize>,
    sets: Vec<wgpu::QuerySet>,
    ticks: wgpu::Buffer,
}

/// Returns the laps of `steps`, each of at most `most` dispatches.
pub(super) fn laps(steps: &[Dispatch], most: usize) -> Vec<Lap> {
    let mut laps: Vec<Lap> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match laps.last_mut().filter(|lap| lap.program == step.program && lap.calls.len() < most) {
            Some(lap) => lap.calls.end = index + 1,
            None => laps.push(Lap { program: step.program, calls: index..index + 1 }),
        }
    }
    laps
}

impl Clock {
    /// Creates a clock for `laps`. Must be called inside a guard.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if the device has no clock.
    pub(super) fn new(device: &Device, laps: &[Lap]) -> Result<Self> {
        if !device.info.timestamps {
            let text = format!("{}: expected timestamp queries, got a device without a clock", device.info.name);
            return Err(Error::new(ErrorKind::Device, text).hint("the times of whole calls need none"));
        }
        let label = Some("clock");
        let set = |laps: &[Lap]| {
            let count = u32::try_from(2 * laps.len()).expect("no more than a set has");
            device.query_set(&wgpu::QuerySetDescriptor { label, ty: wgpu::QueryType::Timestamp, count })
        };
        let ticks = device.buffer(&wgpu::BufferDescriptor {
            label,
            size: 2 * TICK_BYTES * laps.len().max(1) as u64,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let programs = laps.iter().map(|lap| lap.program).collect();
        Ok(Self { programs, sets: laps.chunks(LAPS).map(set).collect(), ticks })
    }

    /// Returns the timestamps that the pass of lap `lap` writes.
    pub(super) fn writes(&self, lap: usize) -> wgpu::ComputePassTimestampWrites<'_> {
        let first = u32::try_from(2 * (lap % LAPS)).expect("no more than a set has");
        wgpu::ComputePassTimestampWrites {
            query_set: &self.sets[lap / LAPS],
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        }
    }

    /// Records the copy of the ticks to where they are read.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        for (index, set) in self.sets.iter().enumerate() {
            let count = (self.programs.len() - index * LAPS).min(LAPS);
            let queries = 0..u32::try_from(2 * count).expect("no more than a set has");
            encoder.resolve_query_set(set, queries, &self.ticks, (2 * LAPS * index) as u64 * TICK_BYTES);
        }
    }

    /// Returns where the ticks are read.
    pub(super) fn source(&self) -> Source {
        Source { buffer: self.ticks.clone(), offset: 0, bytes: 2 * TICK_BYTES * self.programs.len() as u64 }
    }

    /// Returns the time of each program, from ticks of `period` nanoseconds.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if a lap ends before it begins.
    pub(super) fn spent(&self, ticks: &[u64], period: f32) -> Result<Spent> {
        let mut spent = Spent::new();
        for (&program, ends) in self.programs.iter().zip(ticks.as_chunks::<2>().0) {
            let [start, end] = *ends;
            let Some(lap) = end.checked_sub(start) else {
                let text =
                    format!("timestamps: expected an end after {start}, got {end}; the driver's clock is no use");
                return Err(Error::new(ErrorKind::Device, text));
            };
            *spent.entry(vec![program]).or_default() += Duration::from_secs_f64(lap as f64 * f64::from(period) * 1e-9);
        }
        Ok(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(programs: &[usize]) -> Vec<Dispatch> {
        programs.iter().map(|&program| Dispatch { program, params: 0, grid: [1; 3], windows: Vec::new() }).collect()
    }

    #[test]
    fn a_lap_is_a_run_of_one_program_and_none_is_too_long() {
        let laps = |most| laps(&steps(&[0, 0, 0, 1, 0, 2, 2]), most).into_iter().map(|lap| (lap.program, lap.calls));
        assert!(laps(9).eq([(0, 0..3), (1, 3..4), (0, 4..5), (2, 5..7)]));
        assert!(laps(2).eq([(0, 0..2), (0, 2..3), (1, 3..4), (0, 4..5), (2, 5..7)]));
    }
}
