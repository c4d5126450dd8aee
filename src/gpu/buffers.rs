//! The buffers of a device: a model's weights, which all its plans share, and what holds a slot of a plan.
//!
//! Knows bytes, names and purposes; knows no kernel.

use super::device::Device;
use super::pipelines::STORAGE_ALIGN;
use super::texture::Texture;
use super::tune::CHUNK;
use crate::error::{Error, Result};
use crate::kernel::{Medium, POISON};
use crate::pack::PackedBuffer;
use crate::plan::{Plan, SlotKind};

/// A slot on the device.
#[derive(Clone)]
pub(super) enum GpuSlot {
    /// A storage buffer.
    Buffer(wgpu::Buffer),
    /// A texture.
    Texture(Texture),
}

impl GpuSlot {
    /// Returns the bytes of its contents.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.size(),
            Self::Texture(texture) => texture.bytes,
        }
    }

    /// Returns the buffer.
    ///
    /// # Panics
    ///
    /// Panics if it is a texture: `plan::check` lets no host write or read one.
    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Texture(_) => unreachable!("what is written and read is in buffers"),
        }
    }
}

/// A model's weights, one for each buffer of `Packed`, and what a training keeps, by index.
#[derive(Default)]
pub(super) struct Weights {
    packed: Vec<GpuSlot>,
    kept: Vec<Option<GpuSlot>>,
}

impl Weights {
    /// Returns packed buffer `index`, if there is one.
    pub(super) fn get(&self, index: usize) -> Option<&GpuSlot> {
        self.packed.get(index)
    }

    /// Returns what is kept as `index`, if anything is.
    pub(super) fn kept(&self, index: usize) -> Option<&GpuSlot> {
        self.kept.get(index)?.as_ref()
    }

    /// Makes zeros for what `plan` keeps from run to run, unless they are there already.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if the device has no memory for them.
    pub(super) async fn keep(&mut self, device: &Device, plan: &Plan) -> Result<()> {
        for slot in &plan.slots {
            let SlotKind::TrainState(index) = slot.kind else { continue };
            self.kept.resize(self.kept.len().max(index + 1), None);
            if self.kept[index].is_none() {
                device.fits(&slot.name, slot.bytes)?;
                let buffer = device.guard(&slot.name, || storage(device, &slot.name, slot.bytes)).await?;
                self.kept[index] = Some(GpuSlot::Buffer(buffer));
            }
        }
        Ok(())
    }

    /// Uploads the next packed buffer.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if it is too large, or if the device has too little memory.
    pub(super) async fn add(&mut self, device: &Device, data: PackedBuffer, medium: Medium) -> Result<()> {
        let (name, bytes) = (format!("weights.{}", self.packed.len()), data.bytes());
        device.fits(&name, bytes.len() as u64).map_err(|e| smaller(e, &data))?;
        let make = || match medium {
            Medium::Buffer => GpuSlot::Buffer(storage(device, &name, bytes.len() as u64)),
            Medium::Texture => GpuSlot::Texture(Texture::new(device, &name, &data)),
        };
        let slot = device.guard(&name, make).await?;
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            let upload = || {
                match &slot {
                    GpuSlot::Buffer(buffer) => device.queue.write_buffer(buffer, (index * CHUNK) as u64, chunk),
                    GpuSlot::Texture(texture) => texture.write(device, index * CHUNK, chunk),
                }
                device.queue.submit([])
            };
            // Staged data stays until the device has it: one chunk at a time.
            let submission = device.guard(&name, upload).await?;
            device.wait(submission).await?;
        }
        self.packed.push(slot);
        log::debug!("{}: uploaded {name}, {} bytes, {medium:?}", device.info.name, bytes.len());
        Ok(())
    }
}

impl Weights {
    /// Overwrites packed buffer `index` with `data` of the same size, for all later runs.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Lost` if the device is lost.
    pub(super) async fn replace(&self, device: &Device, index: usize, data: &PackedBuffer) -> Result<()> {
        write(device, &format!("weights.{index}"), self.get(index), data).await
    }

    /// Overwrites what is kept as `index` with `data` of the same size, for all later runs.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`replace`](Self::replace).
    pub(super) async fn replace_kept(&self, device: &Device, index: usize, data: &PackedBuffer) -> Result<()> {
        write(device, &format!("kept.{index}"), self.kept(index), data).await
    }
}

/// Overwrites `slot` with `data`.
async fn write(device: &Device, name: &str, slot: Option<&GpuSlot>, data: &PackedBuffer) -> Result<()> {
    let Some(slot) = slot else { return Err(Error::internal(format!("{name}: expected some"))) };
    for (chunk, part) in data.bytes().chunks(CHUNK).enumerate() {
        let upload = || match slot {
            GpuSlot::Buffer(buffer) => device.queue.write_buffer(buffer, (chunk * CHUNK) as u64, part),
            GpuSlot::Texture(texture) => texture.write(device, chunk * CHUNK, part),
        };
        device.guard(name, upload).await?;
    }
    Ok(())
}

/// Adds to `error` what would make `data` smaller.
fn smaller(error: Error, data: &PackedBuffer) -> Error {
    match data {
        PackedBuffer::F32(_) => {
            error.hint("16-bit weights (--precision f16) take half as much, 8-bit ones (int8) a quarter")
        }
        PackedBuffer::F16(_) => error.hint("8-bit weights (--precision int8) take half as much"),
        PackedBuffer::I8 { .. } => error,
    }
}

/// Makes a storage buffer of `bytes`.
pub(super) fn storage(device: &Device, label: &str, bytes: u64) -> wgpu::Buffer {
    device.buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: bytes.next_multiple_of(STORAGE_ALIGN).max(STORAGE_ALIGN),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// Writes `data` at byte `at` of `buffer`, then zeros, up to `bytes` in all.
pub(super) fn write_floats(device: &Device, buffer: &wgpu::Buffer, at: u64, data: &[f32], bytes: u64) {
    let mut all = vec![0_u8; usize::try_from(bytes).expect("a row of states is in memory")];
    let data: &[u8] = bytemuck::cast_slice(data);
    all[..data.len()].copy_from_slice(data);
    device.queue.write_buffer(buffer, at, &all);
}

/// Fills `buffer` with NaNs, so that an element that no kernel writes shows.
pub(super) fn poison(queue: &wgpu::Queue, buffer: &wgpu::Buffer) {
    // Buffers are whole words, and most are far smaller than a chunk.
    let words = usize::try_from(buffer.size() / 4).map_or(CHUNK / 4, |words| words.min(CHUNK / 4));
    let block = vec![POISON; words];
    let block: &[u8] = bytemuck::cast_slice(&block);
    let mut at = 0;
    while at < buffer.size() {
        let bytes = (buffer.size() - at).min(block.len() as u64);
        queue.write_buffer(buffer, at, &block[..usize::try_from(bytes).expect("at most the block's length")]);
        at += bytes;
    }
}
