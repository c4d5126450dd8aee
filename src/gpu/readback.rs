//! Device → host: ranges of buffers, copied behind the work that fills them and mapped when it is done.
//!
//! Knows buffers and ranges; not what they mean.

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
    /// For each source: the index of its staging buffer, and where it lies there.
    places: Vec<(usize, Range<u64>)>,
    staging: Vec<wgpu::Buffer>,
}

/// The mappings under way, one for each staging buffer.
pub(super) struct Landing(Vec<OneshotReceiver<bool>>);

impl Readback {
    /// Makes the staging of `sources`. To be called inside a guard.
    pub(super) fn new(device: &Device, label: &str, sources: Vec<Source>) -> Self {
        let most = device.limits().buffer_bytes;
        let mut sizes: Vec<u64> = Vec::new();
        let mut places = Vec::with_capacity(sources.len());
        for source in &sources {
            let room = source.bytes.next_multiple_of(wgpu::MAP_ALIGNMENT);
            if sizes.last().is_none_or(|size| size + room > most) {
                sizes.push(0);
            }
            let index = sizes.len() - 1;
            places.push((index, sizes[index]..sizes[index] + source.bytes));
            sizes[index] += room;
        }
        let staging = sizes.into_iter().map(|size| {
            device.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: size.max(wgpu::MAP_ALIGNMENT),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        Self { staging: staging.collect(), sources, places }
    }

    /// Records the copies.
    pub(super) fn copy(&self, encoder: &mut wgpu::CommandEncoder) {
        for (source, (index, range)) in self.sources.iter().zip(&self.places) {
            encoder.copy_buffer_to_buffer(
                &source.buffer,
                source.offset,
                &self.staging[*index],
                range.start,
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

    /// Source `index`, once all have landed.
    ///
    /// # Errors
    ///
    /// Kind `Device`, where it is not mapped.
    pub(super) fn read<T: Pod>(&self, index: usize) -> Result<Vec<T>> {
        let (buffer, range) = &self.places[index];
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let view = self.staging[*buffer]
            .get_mapped_range(range.clone())
            .map_err(|error| Error::new(ErrorKind::Device, format!("readback {index}: {error}")).because(error))?;
        Ok(bytemuck::pod_collect_to_vec(&view[..]))
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
