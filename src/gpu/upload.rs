//! Host → device: a ring of mapped buffers, from which what a plan writes is copied to its slots.
//!
//! wgpu's own way (`write_buffer`) makes a buffer for each write; here a buffer is mapped again as soon as the device has
//! read it, so that a repeated call makes none, and the next is laid out while the device computes. Knows writes and
//! bytes; knows not what they mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::buffers::Held;
use super::device::{Device, Wait};
use super::readback::{Place, side_by_side};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Caller, Plan, Write};

/// Submits whose uploads may be under way at a time.
const RING: usize = 3;

/// What a plan's host writes, on its way to the device.
pub(super) struct Upload {
    label: String,
    writes: Vec<Write>,
    places: Vec<Place>,
    sizes: Vec<u64>,
    /// One write at a time is laid out here: mapped memory is only to be written, and not to be read again.
    words: Vec<u32>,
    /// The longest unused first.
    ring: Vec<Turn>,
}

/// The staging of one submit.
pub(super) struct Turn {
    staging: Vec<wgpu::Buffer>,
    flight: Option<Flight>,
}

/// A submit that may still read its staging.
struct Flight {
    submission: wgpu::SubmissionIndex,
    mappings: Vec<(Arc<AtomicBool>, OneshotReceiver<bool>)>,
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
    pub(super) async fn turn(&mut self, device: &Device, wait: Wait) -> Result<Turn> {
        if let Some(index) = self.ring.iter().position(Turn::is_mapped) {
            return Ok(Turn { flight: None, ..self.ring.remove(index) });
        }
        if self.ring.len() < RING {
            let staging = device.guard(&self.label, || self.sizes.iter().map(|&size| self.staging(device, size)));
            let staging = staging.await?.collect();
            return Ok(Turn { staging, flight: None });
        }
        let turn = self.ring.remove(0);
        if let Some(Flight { submission, mappings }) = turn.flight {
            device.wait(submission, wait).await?;
            for (_, told) in mappings {
                if told.receive().await != Some(true) {
                    return Err(device.unanswered());
                }
            }
        }
        Ok(Turn { staging: turn.staging, flight: None })
    }

    fn staging(&self, device: &Device, size: u64) -> wgpu::Buffer {
        device.buffer(&wgpu::BufferDescriptor {
            label: Some(&self.label),
            size,
            usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        })
    }

    /// Lets `caller` lay out every write, and records the copies into `slots`.
    ///
    /// # Errors
    ///
    /// Those of `caller`; kind `Device`, where the staging is not mapped.
    pub(super) fn fill(
        &mut self,
        turn: &Turn,
        caller: &mut dyn Caller,
        slots: &[Held],
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<()> {
        for (write, place) in self.writes.iter().zip(&self.places) {
            let words = &mut self.words[..usize::try_from(write.bytes / 4).expect("as above")];
            caller.give(*write, words)?;
            let staging = &turn.staging[place.buffer];
            if write.bytes > 0 {
                let mapped = staging.get_mapped_range_mut(place.range.clone());
                let mut mapped = mapped.map_err(|error| {
                    Error::new(ErrorKind::Device, format!("{}: {error}", self.label)).because(error)
                })?;
                mapped.copy_from_slice(bytemuck::cast_slice(words));
                encoder.copy_buffer_to_buffer(
                    staging,
                    place.range.start,
                    slots[write.slot].buffer(),
                    write.offset,
                    Some(write.bytes),
                );
            }
        }
        turn.staging.iter().for_each(wgpu::Buffer::unmap);
        Ok(())
    }

    /// Asks for the mapping of `turn`, after `submission` was made of it.
    pub(super) fn sent(&mut self, mut turn: Turn, submission: wgpu::SubmissionIndex) {
        let ask = |buffer: &wgpu::Buffer| {
            let ((tell, told), done) = (oneshot_channel(), Arc::new(AtomicBool::new(false)));
            buffer.map_async(wgpu::MapMode::Write, .., {
                let done = done.clone();
                move |mapped| {
                    done.store(mapped.is_ok(), Ordering::Release);
                    // Nobody listens any more where the plan's buffers are gone.
                    let _ = tell.send(mapped.is_ok());
                }
            });
            (done, told)
        };
        let mappings = turn.staging.iter().map(ask).collect();
        turn.flight = Some(Flight { submission, mappings });
        self.ring.push(turn);
    }
}

impl Turn {
    fn is_mapped(&self) -> bool {
        let done = |flight: &Flight| flight.mappings.iter().all(|(done, _)| done.load(Ordering::Acquire));
        self.flight.as_ref().is_none_or(done)
    }
}
