//! Buffers between host and device, one set for each submission under way. They are mapped while the host has them.
//!
//! Knows sizes and submissions; knows no contents.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_intrusive::sync::ManualResetEvent;

use super::device::Device;
use crate::error::Result;

/// The buffers of one submission.
pub(super) struct Staging {
    pub(super) buffers: Vec<wgpu::Buffer>,
    asked: Arc<Asked>,
    /// The submission that uses them, until it was waited for.
    submission: Option<wgpu::SubmissionIndex>,
}

/// The latest requests of mappings. This is made once, so that new requests allocate no memory of ours.
struct Asked {
    /// How many requests have no answer yet.
    left: AtomicUsize,
    failed: AtomicBool,
    over: ManualResetEvent,
}

/// A request on its way: wgpu answers it, or drops it if the device is gone. It counts as answered when it is dropped.
struct Answer {
    asked: Arc<Asked>,
    is_mapped: bool,
}

/// A place in staging: the buffer, and the range in it.
pub(super) struct StagingRange {
    pub(super) buffer: usize,
    pub(super) range: Range<u64>,
}

impl Staging {
    /// Makes buffers of `sizes`. Must be called inside a guard.
    pub(super) fn new(device: &Device, label: &str, sizes: &[u64], usage: wgpu::BufferUsages) -> Self {
        let mapped_at_creation = usage.contains(wgpu::BufferUsages::MAP_WRITE);
        let make =
            |&size| device.buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation });
        let asked =
            Asked { left: AtomicUsize::new(0), failed: AtomicBool::new(false), over: ManualResetEvent::new(true) };
        Self { buffers: sizes.iter().map(make).collect(), asked: Arc::new(asked), submission: None }
    }

    /// Asks for the mappings, which come when `submission` is done.
    pub(super) fn ask(&mut self, mode: wgpu::MapMode, submission: wgpu::SubmissionIndex) {
        self.submission = Some(submission);
        self.asked.failed.store(false, Ordering::Relaxed);
        self.asked.left.store(self.buffers.len(), Ordering::Relaxed);
        if !self.buffers.is_empty() {
            self.asked.over.reset();
        }
        for buffer in &self.buffers {
            let answer = Answer { asked: self.asked.clone(), is_mapped: false };
            buffer.map_async(mode, .., move |mapped| answer.is(mapped.is_ok()));
        }
    }

    /// Whether the host has the buffers.
    pub(super) fn is_mapped(&self) -> bool {
        self.asked.over.is_set() && !self.asked.failed.load(Ordering::Acquire)
    }

    /// Waits until the host has the buffers.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Lost` if it never will.
    pub(super) async fn wait_mapped(&mut self, device: &Device) -> Result<()> {
        // It stays until then: if this future is dropped, a later call may wait again.
        if let Some(submission) = self.submission.clone() {
            device.wait(submission).await?;
            self.asked.over.wait().await;
            self.submission = None;
        }
        if self.is_mapped() { Ok(()) } else { Err(device.unanswered()) }
    }

    /// Returns the size of the buffers.
    pub(super) fn bytes(&self) -> u64 {
        self.buffers.iter().map(wgpu::Buffer::size).sum()
    }

    /// Gives the buffers to the device.
    pub(super) fn unmap(&self) {
        self.buffers.iter().for_each(wgpu::Buffer::unmap);
    }
}

/// Lays out pieces of these sizes side by side, in as few buffers of at most
/// `most` bytes as possible. Returns the place of each piece, and the sizes of the
/// buffers. (A piece that is larger than `most` has its own, too large buffer.)
pub(super) fn side_by_side(bytes: impl Iterator<Item = u64>, most: u64) -> (Vec<StagingRange>, Vec<u64>) {
    let (mut places, mut sizes) = (Vec::new(), Vec::<u64>::new());
    for bytes in bytes {
        let room = bytes.next_multiple_of(wgpu::MAP_ALIGNMENT).max(wgpu::MAP_ALIGNMENT);
        if sizes.last().is_none_or(|size| size + room > most) {
            sizes.push(0);
        }
        let buffer = sizes.len() - 1;
        places.push(StagingRange { buffer, range: sizes[buffer]..sizes[buffer] + bytes });
        sizes[buffer] += room;
    }
    (places, sizes)
}

impl Answer {
    fn is(mut self, mapped: bool) {
        self.is_mapped = mapped;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_mapped {
            self.asked.failed.store(true, Ordering::Release);
        }
        if self.asked.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.asked.over.set();
        }
    }
}
