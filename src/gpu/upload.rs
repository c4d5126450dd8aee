//! Host → device: a ring of mapped buffers, from which what a plan writes is copied to its slots.
//!
//! wgpu's own way (`write_buffer`) makes a buffer for each write; here a buffer is mapped again as soon as the device has
//! read it, so that a repeated call makes none, and the next is laid out while the device computes. Knows writes and
//! bytes; knows not what they mean.

use super::buffers::Held;
use super::device::Device;
use super::info::Wait;
use super::staging::{Place, Staging, side_by_side};
use super::tune::RING;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Caller, Plan, Write};

/// What a plan's host writes, on its way to the device.
pub(super) struct Upload {
    label: String,
    writes: Vec<Write>,
    places: Vec<Place>,
    sizes: Vec<u64>,
    /// One write at a time is laid out here: mapped memory is only to be written, and not to be read again.
    words: Vec<u32>,
    /// The longest unused first.
    ring: Vec<Staging>,
}

impl Upload {
    /// Of the writes of `plan` that `pick` takes.
    pub(super) fn new(device: &Device, plan: &Plan, pick: impl Fn(&Write) -> bool) -> Self {
        let writes: Vec<_> = plan.writes.iter().copied().filter(pick).collect();
        let (places, sizes) = side_by_side(writes.iter().map(|write| write.bytes), device.limits().buffer_bytes);
        let largest = writes.iter().map(|write| write.bytes).max().unwrap_or(0);
        let words = vec![0; usize::try_from(largest / 4).expect("a slot's size is the host's")];
        Self { label: plan.title.clone(), writes, places, sizes, words, ring: Vec::with_capacity(RING) }
    }

    /// Staging that is mapped: one that the device is done with, else a new one, else the first that it will be done with.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where the device has no memory for it; `Lost`, where the device is.
    pub(super) async fn turn(&mut self, device: &Device, wait: Wait) -> Result<Staging> {
        if let Some(index) = self.ring.iter().position(Staging::is_mapped) {
            return Ok(self.ring.remove(index));
        }
        if self.ring.len() < RING {
            let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
            return device.guard(&self.label, || Staging::new(device, &self.label, &self.sizes, usage)).await;
        }
        let mut staging = self.ring.remove(0);
        staging.landed(device, wait).await?;
        Ok(staging)
    }

    /// Lets `caller` lay out every write, and records the copies into `slots`.
    ///
    /// # Errors
    ///
    /// Those of `caller`; kind `Device`, where the staging is not mapped.
    pub(super) fn fill(
        &mut self,
        staging: &Staging,
        caller: &mut dyn Caller,
        slots: &[Held],
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<()> {
        for (write, place) in self.writes.iter().zip(&self.places) {
            let words = &mut self.words[..usize::try_from(write.bytes / 4).expect("as above")];
            caller.give(*write, words)?;
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

    /// The size of the ring.
    pub(super) fn bytes(&self) -> u64 {
        self.ring.iter().map(Staging::bytes).sum()
    }

    /// Asks for the mapping of `staging`, after `submission` was made of it.
    pub(super) fn sent(&mut self, mut staging: Staging, submission: wgpu::SubmissionIndex) {
        staging.ask(wgpu::MapMode::Write, submission);
        self.ring.push(staging);
    }
}
