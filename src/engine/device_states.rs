//! States that stay where an engine computes, whichever executor that is.
//!
//! Holds rows of states for `streams`, and runs plans on some of them. Does not know which row belongs to which stream.

use std::sync::Arc;

use crate::cpu;
use crate::error::Result;
use crate::gpu;
use crate::plan::{HostIo, Plan, Read, Results, StateRow};
use crate::platform::waits;

use super::executor::{Executor, run_on_host};

/// The states of every stack and layer of a model, row by row of a batch.
pub(super) enum DeviceStates {
    /// On the host.
    Cpu(cpu::States),
    /// On a GPU.
    Gpu(gpu::States),
}

/// A run whose results are on their way.
pub(super) enum PendingRead {
    /// On the host, in another thread.
    Cpu(cpu::Computing),
    /// From a GPU.
    Gpu(gpu::PendingRead),
}

impl DeviceStates {
    /// Clears row `row`, which then begins at zero again.
    pub(super) fn clear(&mut self, row: usize) {
        match self {
            Self::Cpu(states) => states.clear(row),
            Self::Gpu(states) => states.clear(row),
        }
    }
}

impl Executor {
    /// Makes `rows` rows of the states of `plan`'s model, all zero.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if there is no memory for them.
    pub(super) async fn new_states(&self, plan: &Plan, rows: usize) -> Result<DeviceStates> {
        match self {
            Self::Cpu(_) => cpu::States::of(plan, rows).map(DeviceStates::Cpu),
            Self::Gpu { gpu, .. } => gpu.states(plan, rows).await.map(DeviceStates::Gpu),
        }
    }

    /// Makes room for `rows` rows: old rows stay, new ones are zero.
    ///
    /// # Errors
    ///
    /// As [`new_states`](Self::new_states).
    pub(super) async fn grow(&self, states: &mut DeviceStates, rows: usize) -> Result<()> {
        match (self, states) {
            (_, DeviceStates::Cpu(states)) => states.grow(rows),
            (Self::Gpu { gpu, .. }, DeviceStates::Gpu(states)) => gpu.grow(states, rows).await,
            (Self::Cpu(_), DeviceStates::Gpu(_)) => unreachable!("states are where their engine is"),
        }
    }

    /// Sets rows of the states before the next run.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Device` or `ErrorKind::Lost` if the device fails.
    pub(super) async fn set(&self, states: &mut DeviceStates, rows: &[StateRow]) -> Result<()> {
        match (self, states) {
            (_, DeviceStates::Cpu(states)) => rows.iter().for_each(|row| states.set(row)),
            (Self::Gpu { gpu, .. }, DeviceStates::Gpu(states)) => gpu.set(states, rows).await?,
            (Self::Cpu(_), DeviceStates::Gpu(_)) => unreachable!("states are where their engine is"),
        }
        Ok(())
    }

    /// Runs `plan` on rows of `states` from `first` on: `io` writes everything but states, and reads only the output.
    /// If a GPU should bring the output later, this returns a pending read. On the host, `io` reads it at once.
    pub(super) async fn run_on(
        &self,
        plan: &Arc<Plan>,
        io: &mut dyn HostIo,
        (states, first): (&mut DeviceStates, usize),
        results: Results,
    ) -> Result<Option<PendingRead>> {
        match (self, states) {
            (Self::Cpu(cpu), DeviceStates::Cpu(states)) => {
                match waits() {
                    true => cpu.run_on(plan, io, (states, first), results)?,
                    false => cpu.run_on_aside(plan, io, (states, first), results).await?,
                }
                Ok(None)
            }
            (Self::Gpu { gpu, loaded }, DeviceStates::Gpu(states)) => {
                let pending = gpu.send(loaded, plan, io, Some((states, first)), results).await?;
                match pending.map(PendingRead::Gpu) {
                    Some(mut pending) if results == Results::Wanted => {
                        self.wait_for(&mut pending, |read, data| io.read(read, data)).await.map(|()| None)
                    }
                    pending => Ok(pending),
                }
            }
            _ => unreachable!("states are where their engine is"),
        }
    }

    /// Runs `plan`. If a GPU brings the results later, this returns a pending
    /// read. On the host, `io` reads them at once.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(super) async fn send(&self, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<Option<PendingRead>> {
        match self {
            Self::Cpu(cpu) => run_on_host(cpu, plan, io).await.map(|()| None),
            Self::Gpu { gpu, loaded } => {
                let pending = gpu.send(loaded, plan, io, None, Results::Wanted).await?;
                Ok(pending.map(PendingRead::Gpu))
            }
        }
    }

    /// [`send`](Self::send), for a plan that writes weights. If the polling thread must not block, the host brings its
    /// results later too: work that has begun cannot be called back.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(super) async fn send_update(&mut self, plan: &Arc<Plan>, io: &mut dyn HostIo) -> Result<Option<PendingRead>> {
        match self {
            Self::Cpu(cpu) => {
                cpu.settled().await;
                match waits() {
                    true => cpu.update(plan, io).map(|()| None),
                    false => cpu.begin_update(plan, io).map(PendingRead::Cpu).map(Some),
                }
            }
            Self::Gpu { .. } => self.send(plan, io).await,
        }
    }

    /// Waits for what `pending` brings, and passes it to `take`. If the future is
    /// dropped before, `pending` may be waited for again.
    pub(super) async fn wait_for(&self, pending: &mut PendingRead, take: impl FnMut(Read, &[f32])) -> Result<()> {
        match (self, pending) {
            (_, PendingRead::Cpu(computing)) => computing.wait_for(take).await,
            (Self::Gpu { gpu, .. }, PendingRead::Gpu(pending)) => gpu.wait_for(pending, take).await,
            (Self::Cpu(_), PendingRead::Gpu(_)) => unreachable!("reads are where their engine is"),
        }
    }
}
