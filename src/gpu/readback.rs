//! Device → host: ranges of buffers, copied behind the work that fills them and mapped when it is done.
//!
//! Results that are not waited for at once land while the device goes on: each submit has staging of its own, which comes
//! back when they were read. Knows buffers and ranges; not what they mean.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use bytemuck::Pod;

use super::device::{Device, lock};
use super::info::Wait;
use super::staging::{Place, Staging, side_by_side};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::MOST_LATER;

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
    places: Arc<[Place]>,
    sizes: Vec<u64>,
    rest: Rest,
}

/// Staging that no submit uses: as much of it is kept as results may be on their way.
type Rest = Arc<Mutex<Vec<Staging>>>;

/// What a submit reads, on its way. Its staging goes back when it is dropped, where it has landed.
pub(super) struct Landing {
    places: Arc<[Place]>,
    /// There until then.
    staging: Option<Staging>,
    rest: Rest,
}

impl Readback {
    /// Makes staging of `sources` for one submit. To be called inside a guard.
    pub(super) fn new(device: &Device, label: &str, sources: Vec<Source>) -> Self {
        let bytes = sources.iter().map(|source| source.bytes);
        let (places, sizes) = side_by_side(bytes, device.limits().buffer_bytes);
        let mut rest = Vec::with_capacity(MOST_LATER);
        rest.push(staging(device, label, &sizes));
        let rest = Arc::new(Mutex::new(rest));
        Self { label: label.to_owned(), sources, places: places.into(), sizes, rest }
    }

    /// Staging that no submit uses: what is at rest, else new.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where the device has no memory for it.
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
    pub(super) fn sent(&self, mut staging: Staging, submission: wgpu::SubmissionIndex) -> Landing {
        staging.ask(wgpu::MapMode::Read, submission);
        Landing { places: self.places.clone(), staging: Some(staging), rest: self.rest.clone() }
    }

    /// The size of what no submit uses.
    pub(super) fn bytes(&self) -> u64 {
        lock(&self.rest).iter().map(Staging::bytes).sum()
    }

    /// What no submit uses.
    #[cfg(test)]
    pub(super) fn staging(&self) -> Vec<wgpu::Buffer> {
        lock(&self.rest).iter().flat_map(|staging| staging.buffers.clone()).collect()
    }

    /// How many sources there are.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }
}

fn staging(device: &Device, label: &str, sizes: &[u64]) -> Staging {
    Staging::new(device, label, sizes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)
}

impl Landing {
    /// Waits for all of it.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where it never comes.
    pub(super) async fn landed(&mut self, device: &Device, wait: Wait) -> Result<()> {
        let staging = self.staging.as_mut().expect("it is there until it is dropped");
        staging.landed(device, wait).await
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
        let staging = self.staging.as_ref().expect("it is there until it is dropped");
        let view = staging.buffers[*buffer]
            .get_mapped_range(range.clone())
            .map_err(|error| Error::new(ErrorKind::Device, format!("readback {index}: {error}")).because(error))?;
        // A browser gives bytes that lie anywhere.
        let data = bytemuck::try_cast_slice(&view)
            .map_or_else(|_| Cow::Owned(bytemuck::pod_collect_to_vec(&view[..])), Cow::Borrowed);
        Ok(take(&data))
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(staging) = self.staging.take().filter(Staging::is_mapped) {
            let mut rest = lock(&self.rest);
            if rest.len() < MOST_LATER {
                staging.unmap();
                rest.push(staging);
            }
        }
    }
}
