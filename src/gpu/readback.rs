//! Device → host: ranges of buffers, copied behind the work that fills them and mapped when it is done.
//!
//! Knows buffers and ranges; not what they mean.

use std::borrow::Cow;
use std::ops::Range;

use bytemuck::Pod;
use futures_intrusive::channel::shared::{OneshotReceiver, oneshot_channel};

use super::device::Device;
use crate::error::{Error, ErrorKind, Result};

/// A range to read.
pub(super) struct Source {
    pub(super) buffer: wgpu::Buffer,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Ranges that are read together, side by side in as few buffers as their size allows.
pub(super) struct Readback {
    sources: Vec<Source>,
    places: Vec<Place>,
    staging: Vec<wgpu::Buffer>,
}

/// Where something lies in staging: in which buffer, and where there.
pub(super) struct Place {
    pub(super) buffer: usize,
    pub(super) range: Range<u64>,
}

/// The mappings under way, one for each staging buffer.
pub(super) struct Landing(Vec<OneshotReceiver<bool>>);

impl Readback {
    /// Makes the staging of `sources`. To be called inside a guard.
    pub(super) fn new(device: &Device, label: &str, sources: Vec<Source>) -> Self {
        let bytes = sources.iter().map(|source| source.bytes);
        let (places, sizes) = side_by_side(bytes, device.limits().buffer_bytes);
        let staging = sizes.into_iter().map(|size| {
            device.buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        Self { staging: staging.collect(), sources, places }
    }

    /// Records the copies.
    pub(super) fn copy(&self, encoder: &mut wgpu::CommandEncoder) {
        for (source, place) in self.sources.iter().zip(&self.places) {
            encoder.copy_buffer_to_buffer(
                &source.buffer,
                source.offset,
                &self.staging[place.buffer],
                place.range.start,
                Some(source.bytes),
            );
        }
    }

    /// Asks for the mappings, after the copies were submitted.
    pub(super) fn map(&self) -> Landing {
        let ask = |buffer: &wgpu::Buffer| {
            let (tell, told) = oneshot_channel();
            buffer.map_async(wgpu::MapMode::Read, .., move |mapped| {
                // Nobody listens any more where the call was dropped.
                let _ = tell.send(mapped.is_ok());
            });
            told
        };
        Landing(self.staging.iter().map(ask).collect())
    }

    /// Hands source `index` to `take`, once all have landed.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where it is not mapped.
    pub(super) fn read<T: Pod, R>(&self, index: usize, take: impl FnOnce(&[T]) -> R) -> Result<R> {
        let Place { buffer, range } = &self.places[index];
        if range.is_empty() {
            return Ok(take(&[]));
        }
        let view = self.staging[*buffer]
            .get_mapped_range(range.clone())
            .map_err(|error| Error::new(ErrorKind::Device, format!("readback {index}: {error}")).because(error))?;
        // A browser gives bytes that lie anywhere.
        let data = bytemuck::try_cast_slice(&view)
            .map_or_else(|_| Cow::Owned(bytemuck::pod_collect_to_vec(&view[..])), Cow::Borrowed);
        Ok(take(&data))
    }

    /// The buffers that are mapped.
    #[cfg(test)]
    pub(super) fn staging(&self) -> &[wgpu::Buffer] {
        &self.staging
    }

    /// How many sources there are.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Gives the staging back to the device, for the next call.
    pub(super) fn unmap(&self) {
        for buffer in &self.staging {
            buffer.unmap();
        }
    }
}

/// Pieces of these sizes side by side, in as few buffers of at most `most` bytes as go: where each lies, and the sizes of
/// the buffers. (A piece that is larger than that gets one that is too large.)
pub(super) fn side_by_side(bytes: impl Iterator<Item = u64>, most: u64) -> (Vec<Place>, Vec<u64>) {
    let (mut places, mut sizes) = (Vec::new(), Vec::<u64>::new());
    for bytes in bytes {
        let room = bytes.next_multiple_of(wgpu::MAP_ALIGNMENT).max(wgpu::MAP_ALIGNMENT);
        if sizes.last().is_none_or(|size| size + room > most) {
            sizes.push(0);
        }
        let buffer = sizes.len() - 1;
        places.push(Place { buffer, range: sizes[buffer]..sizes[buffer] + bytes });
        sizes[buffer] += room;
    }
    (places, sizes)
}

impl Landing {
    /// Waits for all mappings.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where one failed.
    pub(super) async fn landed(self, device: &Device) -> Result<()> {
        for told in self.0 {
            if told.receive().await != Some(true) {
                return Err(device.unanswered());
            }
        }
        Ok(())
    }
}
