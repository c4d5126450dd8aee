//! Who calls a plan: gives what it writes, takes what it reads.
//!
//! An executor hands out the memory itself, word by word: what goes in is laid out where the kernels read it, what comes
//! out is taken from where they wrote it, and neither makes a copy of its own. Knows feeds and fetches; knows no call.

use super::{Plan, Read, Write};
use crate::error::{Error, ErrorKind, Result};

/// The host's side of a run.
pub trait Caller: Send {
    /// Lays out the feed of `write`, every word of it: what is there already is of some other run.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the caller has no such feed.
    fn give(&mut self, write: Write, words: &mut [u32]) -> Result<()>;

    /// Takes what `read` gives.
    fn take(&mut self, read: Read, data: &[f32]);
}

/// Runs whose results may be on their way, or here and not fetched: enough for any pace, and few enough that one who never
/// fetches is told.
pub(crate) const MOST_LATER: usize = 16;

/// What a row of a state becomes.
#[derive(Clone, Debug)]
pub(crate) struct StateRow {
    /// Which state, in the order of [`Plan::states`].
    pub(crate) state: usize,
    /// The row.
    pub(crate) row: usize,
    /// Its numbers; what stands behind them is zero.
    pub(crate) data: Vec<f32>,
}

/// Whether what a run gives is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Results {
    /// It is brought back, and waited for.
    Wanted,
    /// It is brought back while the device goes on, and stays until it is fetched: [`Streams::receive`](crate::Streams::receive)
    /// waits for it. Up to 16 pushes may be ahead. The CPU computes at once.
    Later,
    /// It stays where it is; only the states go on.
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

/// A caller with a list of feeds, one for each write, that keeps what it takes.
pub struct Listed<'a> {
    feeds: std::slice::Iter<'a, FeedData>,
    /// What was taken, in the order of the plan's reads.
    pub reads: Vec<Vec<f32>>,
}

impl<'a> Listed<'a> {
    /// A caller of `plan`.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where there are more or fewer feeds than writes.
    pub fn of(plan: &Plan, feeds: &'a [FeedData]) -> Result<Self> {
        if feeds.len() != plan.writes.len() {
            let (expected, got) = (plan.writes.len(), feeds.len());
            return Err(Error::new(ErrorKind::Shape, format!("{}: expected {expected} feeds, got {got}", plan.title)));
        }
        Ok(Self { feeds: feeds.iter(), reads: Vec::new() })
    }
}

impl Caller for Listed<'_> {
    fn give(&mut self, write: Write, words: &mut [u32]) -> Result<()> {
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

    fn take(&mut self, _read: Read, data: &[f32]) {
        self.reads.push(data.to_vec());
    }
}

impl Plan {
    /// Where the host writes each state before a run and reads it after, in an order that all plans of a model share.
    /// Of a state that two directions share only the last write is among them.
    pub fn states(&self) -> impl Iterator<Item = (Write, Read)> + '_ {
        let is_state = |read: &&Read| read.fetch.is_state();
        self.reads.iter().filter(is_state).filter_map(|read| {
            let write = self.writes.iter().rfind(|write| write.feed.becomes(read.fetch))?;
            Some((*write, *read))
        })
    }
}
