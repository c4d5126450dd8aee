//! Host → device: a ring of mapped buffers, from which a plan's writes are copied to its slots.
//!
//! wgpu's `write_buffer` makes a buffer for each write. Here a buffer is mapped again as soon
//! as the device has read it. So a repeated call makes none, and the next input is laid out
//! while the device computes. Knows writes and bytes; knows no meaning of their contents.

use super::buffers::GpuSlot;
use super::device::Device;
use super::staging::{Staging, StagingRange, side_by_side};
use super::tune::RING;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{HostIo, Plan, Write};

/// The writes of a plan's host, on their way to the device.
pub(super) struct Upload {
    label: String,
    writes: Vec<Write>,
    places: Vec<StagingRange>,
    sizes: Vec<u64>,
    /// Memory to lay out one write at a time: mapped memory should only be written, never read.
    words: Vec<u32>,
    /// The staging that is unused for longest comes first.
    ring: Vec<Staging>,
}

impl Upload {
    /// Makes the upload of the writes of `plan` that `pick` accepts.
    pub(super) fn new(device: &Device, plan: &Plan, pick: impl Fn(&Write) -> bool) -> Self {
        let writes: Vec<_> = plan.writes.iter().copied().filter(pick).collect();
        let (places, sizes) = side_by_side(writes.iter().map(|write| write.bytes), device.limits().buffer_bytes);
        let largest = writes.iter().map(|write| write.bytes).max().unwrap_or(0);
        let words = vec![0; usize::try_from(largest / 4).expect("a slot's size is the host's")];
        Self { label: plan.title.clone(), writes, places, sizes, words, ring: Vec::with_capacity(RING) }
    }

    /// Returns mapped staging: one that the device is done with, else
    /// a new one, else the first that the device will be done with.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if the device has no memory for it, or of kind `Lost` if the device is lost.
    pub(super) async fn turn(&mut self, device: &Device) -> Result<Staging> {
        if let Some(index) = self.ring.iter().position(Staging::is_mapped) {
            return Ok(self.ring.remove(index));
        }
        if self.ring.len() < RING {
            let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
            return device.guard(&self.label, || Staging::new(device, &self.label, &self.sizes, usage)).await;
        }
        let mut staging = self.ring.remove(0);
        staging.wait_mapped(device).await?;
        Ok(staging)
    }

    /// Lets `io` lay out every write, and records the copies into `slots`.
    ///
    /// # Errors
    ///
    /// Returns the errors of `io`, or an error of kind `Device` if the staging is not mapped.
    pub(super) fn fill(
        &mut self,
        staging: &Staging,
        io: &mut dyn HostIo,
        slots: &[GpuSlot],
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<()> {
        for (write, place) in self.writes.iter().zip(&self.places) {
            let words = &mut self.words[..usize::try_from(write.bytes / 4).expect("as above")];
            io.write(*write, words)?;
            let buffer = &staging.buffers[place.buffer];
            if write.bytes > 0 {
                let mapped = buffer.get_mapped_range_mut(place.range.clone());
                let mut mapped = mapped.map_err(|error| {
                    Error::new(ErrorKind::Device, format!("{}: {error}", self.label)).because(error)
                })?;
                mapped.copy_from_slice(bytemuck::cast_slice(words));
                encoder.copy_buffer_to_buffer(
                    buffer,
                    place.range.start,
                    slots[write.slot].buffer(),
                    write.offset,
                    Some(write.bytes),
                );
            }
        }
        staging.unmap();
        Ok(())
    }

    /// Returns the size of the ring.
    pub(super) fn bytes(&self) -> u64 {
        self.ring.iter().map(Staging::bytes).sum()
    }

    /// Asks for the mapping of `staging`, which `submission` uses.
    pub(super) fn sent(&mut self, mut staging: Staging, submission: wgpu::SubmissionIndex) {
        staging.ask(wgpu::MapMode::Write, submission);
        self.ring.push(staging);
    }
}
