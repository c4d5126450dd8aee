//! The buffers of a device: a model's weights, shared by all its plans, and the slots that are a plan's own.
//!
//! Knows bytes, names and what they are for; knows no kernel.

use std::sync::{Arc, Mutex};

use super::bound::Bound;
use super::device::{Device, Wait, lock};
use super::pipelines::STORAGE_ALIGN;
use crate::error::{Error, Result};
use crate::pack::PackedBuffer;
use crate::plan::{FeedData, Plan};

/// How many plans of a model keep their buffers when they do not run.
const IDLE: usize = 4;
/// Bytes of weights that are staged before the queue gets them.
const CHUNK: usize = 16 << 20;
/// A quiet NaN that no kernel computes.
const POISON: u32 = 0x7FC0_DEAD;

/// A model's weights on a device, and the buffers of the plans that last ran with them.
#[derive(Default)]
pub(crate) struct Loaded {
    /// One buffer for each of `Packed`.
    pub(super) weights: Vec<wgpu::Buffer>,
    /// Plans at rest, the last used first. A plan that runs is not among them: a second call of it makes a second.
    idle: Mutex<Vec<Bound>>,
}

impl Loaded {
    /// Uploads the next buffer.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where it is too large or the device's memory too small.
    pub(super) async fn add(&mut self, device: &Device, data: PackedBuffer) -> Result<()> {
        let (name, bytes) = (format!("weights.{}", self.weights.len()), data.bytes());
        device.fits(&name, bytes.len() as u64).map_err(|e| smaller(e, &data))?;
        let make = || storage(&device.device, &name, bytes.len() as u64);
        let buffer = device.guard(&name, make).await?;
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            let upload = || {
                device.queue.write_buffer(&buffer, (index * CHUNK) as u64, chunk);
                device.queue.submit([])
            };
            // What is staged stays until the device has it: one chunk at a time.
            let submission = device.guard(&name, upload).await?;
            device.wait(submission, Wait::Aside).await?;
        }
        self.weights.push(buffer);
        log::debug!("{}: uploaded {name}, {} bytes", device.info.name, bytes.len());
        Ok(())
    }

    /// The buffers of `plan`, where they are at rest here.
    pub(super) fn take(&self, plan: &Arc<Plan>) -> Option<Bound> {
        let mut idle = lock(&self.idle);
        let index = idle.iter().position(|bound| Arc::ptr_eq(&bound.plan, plan) || bound.plan == *plan)?;
        Some(idle.remove(index))
    }

    /// Puts the buffers of a plan to rest, and lets go of the longest unused.
    pub(super) fn put(&self, bound: Bound) {
        let mut idle = lock(&self.idle);
        idle.insert(0, bound);
        idle.truncate(IDLE);
    }
}

/// `error`, with what would make `data` smaller.
fn smaller(error: Error, data: &PackedBuffer) -> Error {
    match data {
        PackedBuffer::F32(_) => error.hint("16-bit weights (--precision f16) take half as much"),
        PackedBuffer::F16(_) => error,
    }
}

/// A storage buffer of `bytes`.
pub(super) fn storage(device: &wgpu::Device, label: &str, bytes: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: bytes.next_multiple_of(STORAGE_ALIGN).max(STORAGE_ALIGN),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// Fills `buffer` with NaNs, so that an element that no kernel writes shows.
pub(super) fn poison(queue: &wgpu::Queue, buffer: &wgpu::Buffer) {
    let block = vec![POISON; CHUNK / 4];
    let block: &[u8] = bytemuck::cast_slice(&block);
    let mut at = 0;
    while at < buffer.size() {
        let bytes = (buffer.size() - at).min(block.len() as u64);
        queue.write_buffer(buffer, at, &block[..usize::try_from(bytes).expect("at most the block's length")]);
        at += bytes;
    }
}

impl FeedData {
    /// The bytes, as a GPU takes them.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(data) => bytemuck::cast_slice(data),
            Self::U32(data) => bytemuck::cast_slice(data),
        }
    }
}
