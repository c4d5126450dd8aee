//! The time of each program of a call, and the device's rate of copying: for `gatewave bench --kernels`.
//!
//! Measures plans and adds up times; the executors have the clocks. Knows no table.

use std::sync::Arc;
use std::time::Duration;

use crate::call::Input;
use crate::cell::Activation;
use crate::error::Result;
use crate::kernel::{LANES, Mask, Params, Program, WORKGROUP};
use crate::plan::{
    Dispatch, Feed, FeedData, Fetch, ListedIo, Plan, Read, Shape, Slot, SlotKind, Spent, Window, Work, Write, check,
};
use crate::platform::block_on;

use super::Engine;
use super::call_io::CallIo;
use super::tiles::{Tile, Tiles};

/// The time of all dispatches of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The program, or several if they cannot be told apart, as in a run of steps on the CPU.
    pub programs: Vec<Program>,
    /// How much it computed and moved.
    pub work: Work,
    /// By the device's own clock; on the CPU by the host's.
    pub time: Duration,
}

/// Elements in each row of a copy.
const COPIED: u32 = 4096;

impl Engine {
    /// Runs `input`, and returns the time of each program of its plans, in the order of the plan. Consecutive
    /// dispatches of one program are a pass of their own, so the whole call takes longer than usual.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run). Returns an error of kind
    /// [`ErrorKind::Device`](crate::ErrorKind::Device) if the device has no clock.
    pub fn run_clocked(&self, input: &Input) -> Result<Vec<KernelTime>> {
        let call = self.planner.call(input)?;
        let mut times: Vec<KernelTime> = Vec::new();
        let mut tiles = Tiles::of(&self.planner, &call);
        while let Some(Tile { rows, plan }) = block_on(tiles.next())? {
            let mut io = CallIo { call: &call, model: self.model(), rows, decoder: None };
            let (plan, spent) = match block_on(self.executor.run_clocked(&plan, &mut io)) {
                Ok(spent) => (plan, spent),
                Err(error) => {
                    let plan = self.planner.fallback_plan(&plan, error)?;
                    let spent = block_on(self.executor.run_clocked(&plan, &mut io))?;
                    (plan, spent)
                }
            };
            add(&mut times, &plan, spent);
        }
        Ok(times)
    }

    /// Measures the engine's device while it makes `bytes` from as many others, one
    /// by one. The kernel does little else: `max(0, x)`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Limits`](crate::ErrorKind::Limits) if they do not fit the device, or of
    /// kind [`ErrorKind::Device`](crate::ErrorKind::Device) if it has no clock.
    pub fn copy_clocked(&self, bytes: u64) -> Result<KernelTime> {
        let plan = Arc::new(copy(bytes));
        check::check(&plan, &self.planner.limits).map_err(check::Violation::into_error)?;
        // Not zeros: the host may have no real memory behind them.
        let data = (0..plan.slots[0].bytes / 4).map(|i| (i % 251) as f32 - 125.0);
        let feeds = [FeedData::F32(data.collect())];
        let spent = block_on(self.executor.run_clocked(&plan, &mut ListedIo::of(&plan, &feeds)?))?;
        Ok(KernelTime { programs: plan.programs.clone(), work: plan.work(0), time: spent.into_values().sum() })
    }
}

/// Adds the times of the programs of `plan`.
pub(super) fn add(times: &mut Vec<KernelTime>, plan: &Plan, spent: Spent) {
    for (programs, time) in spent {
        let mut work = Work::default();
        programs.iter().for_each(|&program| work += plan.work(program));
        let programs: Vec<_> = programs.iter().map(|&program| plan.programs[program]).collect();
        match times.iter_mut().find(|known| known.programs == programs) {
            Some(known) => {
                known.work += work;
                known.time += time;
            }
            None => times.push(KernelTime { programs, work, time }),
        }
    }
}

/// The plan of `output = max(0, input)` for about `bytes`.
fn copy(bytes: u64) -> Plan {
    let rows = u32::try_from(bytes / 4 / u64::from(COPIED)).unwrap_or(u32::MAX).max(1);
    let bytes = u64::from(rows) * u64::from(COPIED) * 4;
    let dims = vec![rows as usize, COPIED as usize];
    let slot = |name: &str, kind| Slot { name: name.to_owned(), dims: dims.clone(), bytes, kind };
    let windows = [0, 1].map(|slot| Window { slot, offset: 0, bytes }).to_vec();
    Plan {
        title: "copy".to_owned(),
        shape: Shape::new(1, rows as usize, Mask::All),
        slots: vec![slot("input", SlotKind::Input), slot("output", SlotKind::Output)],
        programs: vec![Program::Activate(Activation::Relu)],
        params: vec![Params { rows, directions: 1, units: COPIED, ..Params::default() }],
        writes: vec![Write { feed: Feed::Features, slot: 0, offset: 0, bytes }],
        steps: vec![Dispatch { program: 0, params: 0, grid: [COPIED / (4 * WORKGROUP), rows, 1], windows }],
        reads: vec![Read { fetch: Fetch::Output, slot: 1, offset: 0, bytes: 4 * LANES as u64 }],
    }
}
