//! What each program of a call takes, and the rate at which the device copies: for `gatewave bench --kernels`.
//!
//! Clocks plans and adds up; the clocks are the executors'. Knows no table.

use std::sync::Arc;
use std::time::Duration;

use crate::call::Input;
use crate::cell::Activation;
use crate::error::Result;
use crate::kernel::{LANES, Mask, Params, Program, WORKGROUP};
use crate::plan::{
    Dispatch, Feed, FeedData, Fetch, Listed, Plan, Read, Shape, Slot, SlotKind, Spent, Window, Work, Write, check,
};
use crate::platform::block_on;

use super::exchange::Exchange;
use super::{Engine, Tile};

/// What the dispatches of a program took.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The program; several where they were not told apart, as in a run of steps on the CPU.
    pub programs: Vec<Program>,
    /// What it computed and moved.
    pub work: Work,
    /// By the device's own clock; on the CPU by the host's.
    pub time: Duration,
}

/// Elements of a row that is copied.
const COPIED: u32 = 4096;

impl Engine {
    /// Runs `input`: what the programs of its plans took, in the order of the plan. Each run of dispatches of one program is a pass of its own, so that a whole call takes longer than otherwise.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run); kind `Device`, where the device has no clock.
    #[doc(hidden)]
    pub fn run_clocked(&self, input: &Input) -> Result<Vec<KernelTime>> {
        let call = self.planner.call(input)?;
        let mut times: Vec<KernelTime> = Vec::new();
        for tile in self.tiles(&call) {
            let Tile { rows, plan } = tile?;
            let mut exchange = Exchange { call: &call, model: self.model(), rows, decoder: None };
            let (plan, spent) = match block_on(self.executor.run_clocked(&plan, &mut exchange)) {
                Ok(spent) => (plan, spent),
                Err(error) => {
                    let plan = self.planner.instead_of(&plan, error)?;
                    let spent = block_on(self.executor.run_clocked(&plan, &mut exchange))?;
                    (plan, spent)
                }
            };
            add(&mut times, &plan, spent);
        }
        Ok(times)
    }

    /// What it takes the engine's device to make `bytes` of other `bytes`, one by one, with a kernel that does little
    /// besides: `max(0, x)`.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where they do not fit the device; `Device`, where it has no clock.
    #[doc(hidden)]
    pub fn copy_clocked(&self, bytes: u64) -> Result<KernelTime> {
        let plan = Arc::new(copy(bytes));
        check::check(&plan, &self.planner.limits).map_err(check::Violation::into_error)?;
        // No zeros: a host may have no memory behind them.
        let data = (0..plan.slots[0].bytes / 4).map(|i| (i % 251) as f32 - 125.0);
        let feeds = [FeedData::F32(data.collect())];
        let spent = block_on(self.executor.run_clocked(&plan, &mut Listed::of(&plan, &feeds)?))?;
        Ok(KernelTime { programs: plan.programs.clone(), work: plan.work(0), time: spent.into_values().sum() })
    }
}

/// Adds what the programs of `plan` took.
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

/// `output = max(0, input)` of about `bytes`.
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
