//! States that stay where an engine computes, whichever executor that is.
//!
//! Holds rows of states for `streams`, and runs plans on some of them; knows of no stream which row is its own.

use std::sync::Arc;

use crate::cpu;
use crate::error::Result;
use crate::gpu;
use crate::plan::{Caller, Plan, Read, Results, StateRow};

use super::executor::{Executor, Wait};

/// The states of every stack and layer of a model, row by row of a batch.
pub(super) enum Resident {
    /// On the host.
    Cpu(cpu::States),
    /// On a GPU.
    Gpu(gpu::States),
}

/// A run whose results are on their way to the host.
pub(super) enum Flight {
    /// From a GPU.
    Gpu(gpu::Flight),
}

impl Resident {
    /// Row `row` begins anew.
    pub(super) fn clear(&mut self, row: usize) {
        match self {
            Self::Cpu(states) => states.clear(row),
            Self::Gpu(states) => states.clear(row),
        }
    }
}

impl Executor {
    /// `rows` rows of the states of `plan`'s model, all zero.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for them.
    pub(super) async fn resident(&self, plan: &Plan, rows: usize) -> Result<Resident> {
        match self {
            Self::Cpu(_) => cpu::States::of(plan, rows).map(Resident::Cpu),
            Self::Gpu { gpu, .. } => gpu.states(plan, rows).await.map(Resident::Gpu),
        }
    }

    /// Makes room for `rows` rows: what is there stays, what comes is zero.
    ///
    /// # Errors
    ///
    /// As [`resident`](Self::resident).
    pub(super) async fn grow(&self, states: &mut Resident, rows: usize) -> Result<()> {
        match (self, states) {
            (_, Resident::Cpu(states)) => states.grow(rows),
            (Self::Gpu { gpu, .. }, Resident::Gpu(states)) => gpu.grow(states, rows).await,
            (Self::Cpu(_), Resident::Gpu(_)) => unreachable!("states are where their engine is"),
        }
    }

    /// Sets rows of the states, each before the next run.
    ///
    /// # Errors
    ///
    /// Kind `Device` or `Lost`, where the device fails.
    pub(super) async fn set(&self, states: &mut Resident, rows: &[StateRow]) -> Result<()> {
        match (self, states) {
            (_, Resident::Cpu(states)) => rows.iter().for_each(|row| states.set(row)),
            (Self::Gpu { gpu, .. }, Resident::Gpu(states)) => gpu.set(states, rows).await?,
            (Self::Cpu(_), Resident::Gpu(_)) => unreachable!("states are where their engine is"),
        }
        Ok(())
    }

    /// Runs `plan` on rows of `states` from `first` on: `caller` gives all but states, and takes the output alone. Where a GPU
    /// is to bring it later, that is a flight; the host takes it at once.
    pub(super) async fn run_on(
        &self,
        plan: &Arc<Plan>,
        caller: &mut dyn Caller,
        (states, first): (&mut Resident, usize),
        results: Results,
        wait: Wait,
    ) -> Result<Option<Flight>> {
        match (self, states) {
            (Self::Cpu(cpu), Resident::Cpu(states)) => {
                cpu.run_on(plan, caller, (states, first), results).map(|()| None)
            }
            (Self::Gpu { gpu, loaded }, Resident::Gpu(states)) => {
                let flight = gpu.send(loaded, plan, caller, Some((states, first)), results, wait).await?;
                match flight.map(Flight::Gpu) {
                    Some(mut flight) if results == Results::Wanted => {
                        self.land(&mut flight, |read, data| caller.take(read, data), wait).await.map(|()| None)
                    }
                    flight => Ok(flight),
                }
            }
            _ => unreachable!("states are where their engine is"),
        }
    }

    /// Runs `plan`: what it reads comes with a flight, where a GPU brings it later; the host lets `caller` take it at once.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(super) async fn send(&self, plan: &Arc<Plan>, caller: &mut dyn Caller) -> Result<Option<Flight>> {
        match self {
            Self::Cpu(cpu) => cpu.run(plan, caller).map(|()| None),
            Self::Gpu { gpu, loaded } => {
                let flight = gpu.send(loaded, plan, caller, None, Results::Wanted, Wait::Aside).await?;
                Ok(flight.map(Flight::Gpu))
            }
        }
    }

    /// [`send`](Self::send) of a plan that writes weights.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(super) async fn send_update(&mut self, plan: &Arc<Plan>, caller: &mut dyn Caller) -> Result<Option<Flight>> {
        match self {
            Self::Cpu(cpu) => cpu.update(plan, caller).map(|()| None),
            Self::Gpu { .. } => self.send(plan, caller).await,
        }
    }

    /// Waits for what `flight` brings, and lets `take` have it. Where the future is dropped before, it may be waited for again.
    pub(super) async fn land(&self, flight: &mut Flight, take: impl FnMut(Read, &[f32]), wait: Wait) -> Result<()> {
        match (self, flight) {
            (Self::Gpu { gpu, .. }, Flight::Gpu(flight)) => gpu.land(flight, take, wait).await,
            (Self::Cpu(_), Flight::Gpu(_)) => unreachable!("the host has no flights"),
        }
    }
}
