//! States that stay on the device from run to run: rows of a batch that is wider than any one plan's.
//!
//! Before a run they are copied, on the device, to where the plan's host would write them, after it from where the host
//! would read them. Knows a plan's states and their rows; knows no stream.

use super::buffers::{self, Held};
use super::device::Device;
use crate::error::Result;
use crate::plan::{Plan, StateRow};

/// The states of every stack and layer of a model, zero at first.
pub(crate) struct States {
    /// In the order of [`Plan::states`], `[rows][width]`, with the bytes of a row.
    all: Vec<(wgpu::Buffer, u64)>,
    rows: usize,
    /// Rows that begin anew with the next run.
    cleared: Vec<usize>,
}

impl States {
    /// `rows` rows of the states of a plan's model.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where they do not fit the device.
    pub(super) async fn of(device: &Device, plan: &Plan, rows: usize) -> Result<Self> {
        let widths = plan.states().map(|(write, _)| write.bytes / plan.shape.batch as u64);
        let all = make(device, widths.collect(), rows).await?;
        Ok(Self { all, rows, cleared: Vec::with_capacity(rows) })
    }

    /// Makes room for `rows` rows: what is there stays, what comes is zero.
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
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

    /// Row `row` begins anew.
    pub(crate) fn clear(&mut self, row: usize) {
        self.cleared.push(row);
    }

    /// Rows become what they are to be, before the next run and after those that were submitted.
    ///
    /// # Errors
    ///
    /// Kind `Device` or `Lost`, where the device fails.
    pub(super) async fn set(&mut self, device: &Device, rows: &[StateRow]) -> Result<()> {
        let write = || {
            // What is written comes before what the next run records: a row that begins anew is cleared here.
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

    /// Records that rows from `first` on become what `plan` begins with.
    pub(super) fn load(&mut self, plan: &Plan, first: usize, slots: &[Held], encoder: &mut wgpu::CommandEncoder) {
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

    /// Records that what `plan` ended with becomes rows from `first` on.
    pub(super) fn store(&self, plan: &Plan, first: usize, slots: &[Held], encoder: &mut wgpu::CommandEncoder) {
        for ((state, row), (_, read)) in self.all.iter().zip(plan.states()) {
            let at = first as u64 * row;
            encoder.copy_buffer_to_buffer(slots[read.slot].buffer(), read.offset, state, at, Some(read.bytes));
        }
    }
}

/// A buffer of `rows` rows for each of these sizes of a row, in bytes; wgpu makes them zero.
async fn make(device: &Device, row_bytes: Vec<u64>, rows: usize) -> Result<Vec<(wgpu::Buffer, u64)>> {
    for bytes in &row_bytes {
        device.fits("states", bytes.saturating_mul(rows as u64))?;
    }
    let make = |row: u64| (buffers::storage(device, "states", rows as u64 * row), row);
    device.guard("states", || row_bytes.into_iter().map(make).collect()).await
}
