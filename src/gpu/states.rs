//! Device states: rows of a batch that is wider than that of any plan.
//!
//! Before a run they are copied, on the device, to where the plan's host would write them. After it they are
//! copied back from where the host would read them. Knows a plan's states and their rows; knows no stream.

use super::buffers::{self, GpuSlot};
use super::device::Device;
use crate::error::Result;
use crate::plan::{Plan, StateRow};

/// The states of every stack and layer of a model, initially zero.
pub(crate) struct States {
    /// `[rows][width]`, with the bytes of a row, in the order of [`Plan::states`].
    all: Vec<(wgpu::Buffer, u64)>,
    rows: usize,
    /// Rows that the next run clears first.
    cleared: Vec<usize>,
}

impl States {
    /// Makes `rows` rows of the states of a plan's model.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if they do not fit the device.
    pub(super) async fn of(device: &Device, plan: &Plan, rows: usize) -> Result<Self> {
        let widths = plan.states().map(|(write, _)| write.bytes / plan.shape.batch as u64);
        let all = make(device, widths.collect(), rows).await?;
        Ok(Self { all, rows, cleared: Vec::with_capacity(rows) })
    }

    /// Makes room for `rows` rows. Old rows stay, and new ones are zero.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`of`](Self::of).
    pub(super) async fn grow(&mut self, device: &Device, rows: usize) -> Result<()> {
        let grown = make(device, self.all.iter().map(|(_, row)| *row).collect(), rows).await?;
        let copy = || {
            let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for ((from, row), (to, _)) in self.all.iter().zip(&grown) {
                encoder.copy_buffer_to_buffer(from, 0, to, 0, Some(self.rows as u64 * row));
            }
            device.queue.submit([encoder.finish()]);
        };
        device.guard("states", copy).await?;
        (self.all, self.rows) = (grown, rows);
        self.cleared.reserve(rows - self.cleared.len());
        Ok(())
    }

    /// Clears row `row` before the next run.
    pub(crate) fn clear(&mut self, row: usize) {
        self.cleared.push(row);
    }

    /// Sets rows, before the next run and after those that were submitted.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` or `Lost` if the device fails.
    pub(super) async fn set(&mut self, device: &Device, rows: &[StateRow]) -> Result<()> {
        let write = || {
            // These writes come before what the next run records, so rows that it would clear are cleared here.
            let cleared = |row: usize| rows.iter().any(|to| to.row == row);
            for row in self.cleared.extract_if(.., |row| cleared(*row)) {
                for (state, bytes) in &self.all {
                    buffers::write_floats(device, state, row as u64 * bytes, &[], *bytes);
                }
            }
            for to in rows {
                let (state, bytes) = &self.all[to.state];
                buffers::write_floats(device, state, to.row as u64 * bytes, &to.data, *bytes);
            }
        };
        device.guard("states", write).await
    }

    /// Records the copy of rows from `first` on to the initial states of `plan`.
    pub(super) fn load(&mut self, plan: &Plan, first: usize, slots: &[GpuSlot], encoder: &mut wgpu::CommandEncoder) {
        for cleared in self.cleared.drain(..) {
            for (state, row) in &self.all {
                encoder.clear_buffer(state, cleared as u64 * row, Some(*row));
            }
        }
        for ((state, row), (write, _)) in self.all.iter().zip(plan.states()) {
            let at = first as u64 * row;
            encoder.copy_buffer_to_buffer(state, at, slots[write.slot].buffer(), write.offset, Some(write.bytes));
        }
    }

    /// Records the copy of the final states of `plan` to rows from `first` on.
    pub(super) fn store(&self, plan: &Plan, first: usize, slots: &[GpuSlot], encoder: &mut wgpu::CommandEncoder) {
        for ((state, row), (_, read)) in self.all.iter().zip(plan.states()) {
            let at = first as u64 * row;
            encoder.copy_buffer_to_buffer(slots[read.slot].buffer(), read.offset, state, at, Some(read.bytes));
        }
    }
}

/// Makes a buffer of `rows` rows for each of these row sizes in bytes. wgpu makes them zero.
async fn make(device: &Device, row_bytes: Vec<u64>, rows: usize) -> Result<Vec<(wgpu::Buffer, u64)>> {
    for bytes in &row_bytes {
        device.fits("states", bytes.saturating_mul(rows as u64))?;
    }
    let make = |row: u64| (buffers::storage(device, "states", rows as u64 * row), row);
    device.guard("states", || row_bytes.into_iter().map(make).collect()).await
}
