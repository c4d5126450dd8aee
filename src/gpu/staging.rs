//! Buffers that go to and fro between host and device, a set for each submit under way: mapped while the host has them.
//!
//! Knows sizes and submissions; knows not what lies there.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_intrusive::sync::ManualResetEvent;

use super::device::Device;
use super::info::Wait;
use crate::error::Result;

/// The buffers of one submit.
pub(super) struct Staging {
    pub(super) buffers: Vec<wgpu::Buffer>,
    asked: Arc<Asked>,
    /// What uses them, until it was waited for.
    submission: Option<wgpu::SubmissionIndex>,
}

/// The mappings that were asked for last: made once, so that asking again takes no memory of ours.
struct Asked {
    /// How many are not answered.
    left: AtomicUsize,
    failed: AtomicBool,
    over: ManualResetEvent,
}

/// One of them on its way: wgpu answers it, or drops it where the device is gone. Counts when it is dropped.
struct Answer {
    asked: Arc<Asked>,
    is_mapped: bool,
}

/// Where something lies in staging: in which buffer, and where there.
pub(super) struct Place {
    pub(super) buffer: usize,
    pub(super) range: Range<u64>,
}

impl Staging {
    /// Buffers of `sizes`. To be called inside a guard.
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

    /// Whether the host has them.
    pub(super) fn is_mapped(&self) -> bool {
        self.asked.over.is_set() && !self.asked.failed.load(Ordering::Acquire)
    }

    /// Waits until the host has them.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where it never will.
    pub(super) async fn landed(&mut self, device: &Device, wait: Wait) -> Result<()> {
        // It stays until then: whoever drops this future may wait once more.
        if let Some(submission) = self.submission.clone() {
            device.wait(submission, wait).await?;
            self.asked.over.wait().await;
            self.submission = None;
        }
        if self.is_mapped() { Ok(()) } else { Err(device.unanswered()) }
    }

    /// Their size.
    pub(super) fn bytes(&self) -> u64 {
        self.buffers.iter().map(wgpu::Buffer::size).sum()
    }

    /// Gives them to the device.
    pub(super) fn unmap(&self) {
        self.buffers.iter().for_each(wgpu::Buffer::unmap);
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
