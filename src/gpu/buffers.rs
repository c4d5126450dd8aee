//! The buffers of a device: a model's weights, shared by all its plans, and what a slot of a plan is held in.
//!
//! Knows bytes, names and what they are for; knows no kernel.

use super::device::Device;
use super::info::Wait;
use super::pipelines::STORAGE_ALIGN;
use super::texture::Texture;
use super::tune::CHUNK;
use crate::error::{Error, Result};
use crate::kernel::{Medium, POISON};
use crate::pack::PackedBuffer;
use crate::plan::{Plan, SlotKind};

/// A slot on the device.
#[derive(Clone)]
pub(super) enum Held {
    /// A storage buffer.
    Buffer(wgpu::Buffer),
    /// A texture.
    Texture(Texture),
}

impl Held {
    /// Bytes of what is held.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.size(),
            Self::Texture(texture) => texture.bytes,
        }
    }

    /// The buffer.
    ///
    /// # Panics
    ///
    /// Where it is a texture: `plan::check` lets no host write or read one.
    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Texture(_) => unreachable!("what is written and read is in buffers"),
        }
    }
}

/// A model's weights, one for each buffer of `Packed`, and what a training keeps, by its index.
#[derive(Default)]
pub(super) struct Weights {
    packed: Vec<Held>,
    kept: Vec<Option<Held>>,
}

impl Weights {
    /// Buffer `index`, if there are so many.
    pub(super) fn get(&self, index: usize) -> Option<&Held> {
        self.packed.get(index)
    }

    /// What is kept as `index`, if anything is.
    pub(super) fn kept(&self, index: usize) -> Option<&Held> {
        self.kept.get(index)?.as_ref()
    }

    /// Makes zeros for what `plan` keeps from run to run and is not there yet.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where the device has no memory for them.
    pub(super) async fn keep(&mut self, device: &Device, plan: &Plan) -> Result<()> {
        for slot in &plan.slots {
            let SlotKind::Kept(index) = slot.kind else { continue };
            self.kept.resize(self.kept.len().max(index + 1), None);
            if self.kept[index].is_none() {
                device.fits(&slot.name, slot.bytes)?;
                let buffer = device.guard(&slot.name, || storage(device, &slot.name, slot.bytes)).await?;
                self.kept[index] = Some(Held::Buffer(buffer));
            }
        }
        Ok(())
    }

    /// Uploads the next buffer.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where it is too large or the device's memory too small.
    pub(super) async fn add(&mut self, device: &Device, data: PackedBuffer, medium: Medium) -> Result<()> {
        let (name, bytes) = (format!("weights.{}", self.packed.len()), data.bytes());
        device.fits(&name, bytes.len() as u64).map_err(|e| smaller(e, &data))?;
        let make = || match medium {
            Medium::Buffer => Held::Buffer(storage(device, &name, bytes.len() as u64)),
            Medium::Texture => Held::Texture(Texture::new(device, &name, &data)),
        };
        let held = device.guard(&name, make).await?;
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            let upload = || {
                match &held {
                    Held::Buffer(buffer) => device.queue.write_buffer(buffer, (index * CHUNK) as u64, chunk),
                    Held::Texture(texture) => texture.write(device, index * CHUNK, chunk),
                }
                device.queue.submit([])
            };
            // What is staged stays until the device has it: one chunk at a time.
            let submission = device.guard(&name, upload).await?;
            device.wait(submission, Wait::Aside).await?;
        }
        self.packed.push(held);
        log::debug!("{}: uploaded {name}, {} bytes, {medium:?}", device.info.name, bytes.len());
        Ok(())
    }
}

impl Weights {
    /// Writes `data` over buffer `index`, which is as large: what runs after this has it.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where the device is.
    pub(super) async fn replace(&self, device: &Device, index: usize, data: &PackedBuffer) -> Result<()> {
        write(device, &format!("weights.{index}"), self.get(index), data).await
    }

    /// Writes `data` over what is kept as `index`, which is as large: what runs after this has it.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace).
    pub(super) async fn replace_kept(&self, device: &Device, index: usize, data: &PackedBuffer) -> Result<()> {
        write(device, &format!("kept.{index}"), self.kept(index), data).await
    }
}

/// Writes `data` over `held`.
async fn write(device: &Device, name: &str, held: Option<&Held>, data: &PackedBuffer) -> Result<()> {
    let Some(held) = held else { return Err(Error::internal(format!("{name}: expected some"))) };
    for (chunk, part) in data.bytes().chunks(CHUNK).enumerate() {
        let upload = || match held {
            Held::Buffer(buffer) => device.queue.write_buffer(buffer, (chunk * CHUNK) as u64, part),
            Held::Texture(texture) => texture.write(device, chunk * CHUNK, part),
        };
        device.guard(name, upload).await?;
    }
    Ok(())
}

/// `error`, with what would make `data` smaller.
fn smaller(error: Error, data: &PackedBuffer) -> Error {
    match data {
        PackedBuffer::F32(_) => {
            error.hint("16-bit weights (--precision f16) take half as much, 8-bit ones (int8) a quarter")
        }
        PackedBuffer::F16(_) => error.hint("8-bit weights (--precision int8) take half as much"),
        PackedBuffer::I8 { .. } => error,
    }
}

/// A storage buffer of `bytes`.
pub(super) fn storage(device: &Device, label: &str, bytes: u64) -> wgpu::Buffer {
    device.buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: bytes.next_multiple_of(STORAGE_ALIGN).max(STORAGE_ALIGN),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// Writes `data` at byte `at` of `buffer`, and zeros behind it: `bytes` in all.
pub(super) fn write_floats(device: &Device, buffer: &wgpu::Buffer, at: u64, data: &[f32], bytes: u64) {
    let mut all = vec![0_u8; usize::try_from(bytes).expect("a row of states is in memory")];
    let data: &[u8] = bytemuck::cast_slice(data);
    all[..data.len()].copy_from_slice(data);
    device.queue.write_buffer(buffer, at, &all);
}

/// Fills `buffer` with NaNs, so that an element that no kernel writes shows.
pub(super) fn poison(queue: &wgpu::Queue, buffer: &wgpu::Buffer) {
    // Buffers are whole words, most of them far smaller than a chunk.
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
