//! The host's side of a run: it writes what a plan is fed, and reads what the plan gives.
//!
//! An executor hands out the memory itself, word by word. Inputs are laid out where the kernels read them, and outputs
//! are read where the kernels wrote them. Neither side makes its own copy. Knows feeds and fetches; knows no call.

use super::{Plan, Read, Write};
use crate::error::{Error, ErrorKind, Result};

/// The host's side of a run.
pub trait HostIo: Send {
    /// Lays out the feed of `write`, every word of it: the memory still holds words of another run.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Shape` if the host has no such feed.
    fn write(&mut self, write: Write, words: &mut [u32]) -> Result<()>;

    /// Reads the fetch of `read` from `data`.
    fn read(&mut self, read: Read, data: &[f32]);
}

/// The most runs whose results are on their way, or here and not yet fetched. This is
/// enough for any pace. It is also so few that a caller who never fetches gets an error.
pub(crate) const MAX_PENDING: usize = 16;

/// The new value of a row of a state.
#[derive(Clone, Debug)]
pub(crate) struct StateRow {
    /// The index of the state, in the order of [`Plan::states`].
    pub(crate) state: usize,
    /// The row.
    pub(crate) row: usize,
    /// The row's numbers. Those behind them are zero.
    pub(crate) data: Vec<f32>,
}

/// What happens to the results of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Results {
    /// They are copied back, and the call waits for them.
    Wanted,
    /// They are copied back while the device goes on, and stay until [`Streams::receive`](crate::Streams::receive)
    /// fetches them. Up to 16 pushes may be ahead. On the CPU the results are there when the push is done.
    Deferred,
    /// They stay on the device; only the states go on.
    Unwanted,
}

/// The data of a [`Feed`](super::Feed).
#[derive(Clone, Debug)]
pub enum FeedData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// Indices.
    U32(Vec<u32>),
}

/// A host that has a list of feeds, one for each write, and keeps what it reads.
pub struct ListedIo<'a> {
    feeds: std::slice::Iter<'a, FeedData>,
    /// What was read, in the order of the plan's reads.
    pub reads: Vec<Vec<f32>>,
}

impl<'a> ListedIo<'a> {
    /// Creates the host's side for `plan`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Shape` if the number of feeds is not that of the plan's writes.
    pub fn of(plan: &Plan, feeds: &'a [FeedData]) -> Result<Self> {
        if feeds.len() != plan.writes.len() {
            let (expected, got) = (plan.writes.len(), feeds.len());
            return Err(Error::new(ErrorKind::Shape, format!("{}: expected {expected} feeds, got {got}", plan.title)));
        }
        Ok(Self { feeds: feeds.iter(), reads: Vec::new() })
    }
}

impl HostIo for ListedIo<'_> {
    fn write(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
        let given: &[u32] = match self.feeds.next() {
            Some(FeedData::F32(data)) => bytemuck::cast_slice(data),
            Some(FeedData::U32(data)) => data,
            None => &[],
        };
        if given.len() != words.len() {
            let text = format!("{}: expected {} words, got {}", write.feed, words.len(), given.len());
            return Err(Error::new(ErrorKind::Shape, text));
        }
        words.copy_from_slice(given);
        Ok(())
    }

    fn read(&mut self, _read: Read, data: &[f32]) {
        self.reads.push(data.to_vec());
    }
}

impl Plan {
    /// Returns where the host writes each state before a run, and where it reads the state after it. All plans
    /// of a model share the order. Of a state that two directions share, only the last write is included.
    pub fn states(&self) -> impl Iterator<Item = (Write, Read)> + '_ {
        let is_state = |read: &&Read| read.fetch.is_state();
        self.reads.iter().filter(is_state).filter_map(|read| {
            let write = self.writes.iter().rfind(|write| write.feed.becomes(read.fetch))?;
            Some((*write, *read))
        })
    }
}
