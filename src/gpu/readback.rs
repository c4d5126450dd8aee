//! Device → host: ranges of buffers, copied after the work that fills them, and mapped when it is done.
//!
//! Deferred results arrive while the device goes on. Each submission has its own staging, which is
//! reused after the results were read. Knows buffers and ranges; knows no meaning of their contents.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use bytemuck::Pod;

use super::device::{Device, lock};
use super::staging::{Staging, StagingRange, side_by_side};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::MAX_PENDING;

/// A range to read.
pub(super) struct Source {
    pub(super) buffer: wgpu::Buffer,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Ranges that are read together, side by side in as few buffers as their size allows.
pub(super) struct Readback {
    label: String,
    sources: Vec<Source>,
    places: Arc<[StagingRange]>,
    sizes: Vec<u64>,
    rest: Rest,
}

/// Idle staging. As many are kept as results may be pending.
type Rest = Arc<Mutex<Vec<Staging>>>;

/// The pending results of a submission. When this is dropped, its staging becomes idle if it is mapped.
pub(super) struct PendingReadback {
    places: Arc<[StagingRange]>,
    /// Present until this is dropped.
    staging: Option<Staging>,
    rest: Rest,
}

impl Readback {
    /// Makes the staging of `sources` for one submission. Must be called inside a guard.
    pub(super) fn new(device: &Device, label: &str, sources: Vec<Source>) -> Self {
        let bytes = sources.iter().map(|source| source.bytes);
        let (places, sizes) = side_by_side(bytes, device.limits().buffer_bytes);
        let mut rest = Vec::with_capacity(MAX_PENDING);
        rest.push(staging(device, label, &sizes));
        let rest = Arc::new(Mutex::new(rest));
        Self { label: label.to_owned(), sources, places: places.into(), sizes, rest }
    }

    /// Returns idle staging, or else makes new staging.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if the device has no memory for it.
    pub(super) async fn turn(&self, device: &Device) -> Result<Staging> {
        let rest = lock(&self.rest).pop();
        match rest {
            Some(staging) => Ok(staging),
            None => device.guard(&self.label, || staging(device, &self.label, &self.sizes)).await,
        }
    }

    /// Records the copies.
    pub(super) fn copy(&self, staging: &Staging, encoder: &mut wgpu::CommandEncoder) {
        for (source, place) in self.sources.iter().zip(&*self.places) {
            encoder.copy_buffer_to_buffer(
                &source.buffer,
                source.offset,
                &staging.buffers[place.buffer],
                place.range.start,
                Some(source.bytes),
            );
        }
    }

    /// Asks for the mappings, after the copies were submitted.
    pub(super) fn sent(&self, mut staging: Staging, submission: wgpu::SubmissionIndex) -> PendingReadback {
        staging.ask(wgpu::MapMode::Read, submission);
        PendingReadback { places: self.places.clone(), staging: Some(staging), rest: self.rest.clone() }
    }

    /// Returns the size of idle staging.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.rest).iter().map(Staging::bytes).sum()
    }

    /// Returns the idle staging's buffers.
    #[cfg(test)]
    pub(super) fn staging(&self) -> Vec<wgpu::Buffer> {
        lock(&self.rest).iter().flat_map(|staging| staging.buffers.clone()).collect()
    }

    /// Returns the number of sources.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }
}

fn staging(device: &Device, label: &str, sizes: &[u64]) -> Staging {
    Staging::new(device, label, sizes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)
}

impl PendingReadback {
    /// Waits until all sources are mapped.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Lost` if they never will be.
    pub(super) async fn wait_mapped(&mut self, device: &Device) -> Result<()> {
        let staging = self.staging.as_mut().expect("it is there until it is dropped");
        staging.wait_mapped(device).await
    }

    /// Hands source `index` to `take`, once all are mapped.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if the source is not mapped.
    pub(super) fn read<T: Pod, R>(&self, index: usize, take: impl FnOnce(&[T]) -> R) -> Result<R> {
        let StagingRange { buffer, range } = &self.places[index];
        if range.is_empty() {
            return Ok(take(&[]));
        }
        let staging = self.staging.as_ref().expect("it is there until it is dropped");
        let view = staging.buffers[*buffer]
            .get_mapped_range(range.clone())
            .map_err(|error| Error::new(ErrorKind::Device, format!("readback {index}: {error}")).because(error))?;
        // The bytes that a browser gives may have any alignment.
        let data = bytemuck::try_cast_slice(&view)
            .map_or_else(|_| Cow::Owned(bytemuck::pod_collect_to_vec(&view[..])), Cow::Borrowed);
        Ok(take(&data))
    }
}

impl Drop for PendingReadback {
    fn drop(&mut self) {
        if let Some(staging) = self.staging.take().filter(Staging::is_mapped) {
            let mut rest = lock(&self.rest);
            if rest.len() < MAX_PENDING {
                staging.unmap();
                rest.push(staging);
            }
        }
    }
}
