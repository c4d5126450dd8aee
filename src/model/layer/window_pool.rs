//! The layer `window_pool`: what the steps of each window come to, feature by feature.

use std::fmt;
use std::ops::Range;

use super::global_pool::Reduce;
use super::row::{Places, differs};
use super::{Kind, word};
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Flow, positive, unfit};

/// The largest, smallest, mean or sum of each feature over windows of `size` steps: `[B, T, F]` to `[B, T', F]`.
///
/// A dead step is like the padding around a sequence, so that each row gives what it gives alone. A row has the windows
/// between its first live step and its last. The largest of a window passes its gradient to the first step that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WindowPool {
    /// What the steps come to.
    pub reduce: Reduce,
    /// The number of steps that a window takes.
    pub size: usize,
    /// Steps from the begin of a window to that of the next.
    pub stride: usize,
    /// Steps from one step that a window takes to the next one.
    pub dilation: usize,
    /// The steps around the sequence.
    pub padding: PoolPadding,
    /// Whether the last window may reach past the padding, if it begins before the end of the sequence (`ceil_mode`).
    pub ceil: bool,
    /// Whether a mean divides by the steps of the padding too (`count_include_pad`).
    pub counts_padding: bool,
    /// Whether dead steps count with the values that they have. Every step of the output is then live. A pool of Keras
    /// does so, since it takes no mask and gives none.
    pub all_steps: bool,
}

/// The steps around a sequence that windows may reach into. No such step is ever the largest or the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolPadding {
    /// So many steps.
    Around {
        /// Steps before the first.
        before: usize,
        /// Steps after the last.
        after: usize,
    },
    /// As many as it takes to have a window for each stride. An odd step is at the end (`same`).
    Same,
    /// The same number of steps. An odd step is at the start (`SAME_LOWER` of ONNX).
    SameStart,
}

impl PoolPadding {
    /// No step.
    pub const NONE: Self = Self::Around { before: 0, after: 0 };

    /// The word for each in a description. Steps that are told have keys of their own.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("valid", Self::NONE), ("same", Self::Same), ("same_start", Self::SameStart)];
}

/// The most steps from the first of a window to its last.
const MOST_STEPS: usize = 1 << 24;

/// Windows along a sequence of a known number of steps. Steps count from the first one of the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// The number of windows.
    pub(crate) count: usize,
    /// The number of steps that a window takes.
    pub(crate) size: usize,
    pub(crate) stride: usize,
    pub(crate) dilation: usize,
    /// The first step of the first window; negative in the padding.
    pub(crate) start: i64,
    /// The steps of the sequence.
    pub(crate) time: usize,
    /// What a mean counts: from this step up to that one.
    pub(crate) counted: [i64; 2],
}

impl WindowPool {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 10] =
        ["reduce", "size", "stride", "dilation", "padding", "before", "after", "ceil", "counts_padding", "all_steps"];

    /// Creates a pooling of windows of `size` steps, one after the other.
    pub fn new(reduce: Reduce, size: usize) -> Self {
        let padding = PoolPadding::NONE;
        Self { reduce, size, stride: size, dilation: 1, padding, ceil: false, counts_padding: false, all_steps: false }
    }

    /// Sets the steps from one window to the next.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Sets the steps from one step of a window to the next.
    #[must_use]
    pub fn dilation(self, dilation: usize) -> Self {
        Self { dilation, ..self }
    }

    /// Sets the steps around the sequence.
    #[must_use]
    pub fn padding(self, padding: PoolPadding) -> Self {
        Self { padding, ..self }
    }

    /// Sets that the last window may reach past the padding.
    #[must_use]
    pub fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    /// Sets that a mean divides by the steps of the padding too.
    #[must_use]
    pub fn counts_padding(self) -> Self {
        Self { counts_padding: true, ..self }
    }

    /// Sets that dead steps count with the values that they have.
    #[must_use]
    pub fn all_steps(self) -> Self {
        Self { all_steps: true, ..self }
    }

    /// Returns the steps from the first of a window to behind the last.
    pub(crate) fn span(self) -> usize {
        extent(self.size, self.dilation)
    }

    /// Returns the windows along `time` steps, for rows of a batch.
    pub(crate) fn places(self, time: usize) -> Places {
        let Windows { count, start, .. } = self.windows(time);
        let before = usize::try_from(-start).unwrap_or_default();
        Places { count, stride: self.stride.max(1), before, span: self.span() }
    }

    /// Whether a mean of the last window along `time` steps counts steps behind the padding, if there are any.
    pub(crate) fn counts_past_end(self, time: usize) -> bool {
        let Windows { count, stride, counted: [start, end], .. } = self.windows(time);
        let behind = count.saturating_sub(1).saturating_mul(stride).saturating_add(self.span());
        self.reduce == Reduce::Mean && self.counts_padding && count > 0 && place(behind) > end - start
    }

    /// Whether the windows of a row depend on the steps of other rows, for some lengths of the two.
    pub(crate) fn depends_on_length(self) -> bool {
        match self.padding {
            PoolPadding::Around { .. } => {
                self.reduce == Reduce::Mean && self.counts_padding && self.ceil && self.stride > 1
            }
            PoolPadding::Same => differs(self.span(), self.stride, |all| all / 2),
            PoolPadding::SameStart => differs(self.span(), self.stride, |all| all.div_ceil(2)),
        }
    }

    /// Returns the windows along `time` steps. None is left if a window could lie between two steps.
    pub(crate) fn windows(self, time: usize) -> Windows {
        let (extent, stride) = (extent(self.size, self.dilation), self.stride.max(1));
        let (count, before, after) = match self.padding {
            PoolPadding::Around { before, after } => {
                let all = time.saturating_add(before).saturating_add(after);
                let whole = all.checked_sub(extent).map_or(0, |left| left / stride + 1);
                // The next window begins where the last whole one would: it may lack fewer steps than a stride.
                let ends = whole.saturating_mul(stride).saturating_add(extent);
                let partial = self.ceil && ends > all && ends - all < stride;
                // A window that would begin behind the sequence has no step.
                let begins = whole.saturating_mul(stride) < time.saturating_add(before);
                (whole + usize::from(partial && begins), before, after)
            }
            PoolPadding::Same | PoolPadding::SameStart => {
                let count = time.div_ceil(stride);
                let reach = count.saturating_sub(1).saturating_mul(stride).saturating_add(extent);
                let all = reach.saturating_sub(time);
                let before = if self.padding == PoolPadding::Same { all / 2 } else { all.div_ceil(2) };
                (count, before, all - before)
            }
        };
        let falls_between = time < self.dilation && self.size > 1 && before.max(after) > 0;
        let start = -place(before);
        let counts = self.counts_padding && self.reduce == Reduce::Mean;
        let counted = if counts { [start, place(time.saturating_add(after))] } else { [0, place(time)] };
        let count = if falls_between { 0 } else { count };
        Windows { count, size: self.size, stride, dilation: self.dilation, start, time, counted }
    }
}

/// Returns the steps from the first of `size` steps to behind the last of them.
fn extent(size: usize, dilation: usize) -> usize {
    size.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
}

/// Returns a place on the time axis.
fn place(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Windows {
    /// Creates windows of one step each: `count` of `time` steps, `step` apart, from `first` on.
    pub(crate) fn every(first: usize, step: usize, count: usize, time: usize) -> Self {
        let (start, end) = (place(first), place(time));
        Self { count, size: 1, stride: step, dilation: 1, start, time, counted: [0, end] }
    }

    /// Returns the steps from the first of a window to behind its last.
    pub(crate) fn extent(&self) -> usize {
        extent(self.size, self.dilation)
    }

    /// Returns the steps of the sequence from the first that `windows` take to their last.
    pub(crate) fn steps(&self, windows: Range<usize>) -> Range<usize> {
        let at = |window: usize| self.start.saturating_add(place(window.saturating_mul(self.stride)));
        let end = at(windows.end.saturating_sub(1)).saturating_add(place(self.extent()));
        let within = |step: i64| usize::try_from(step.max(0)).unwrap_or(usize::MAX).min(self.time);
        let start = within(at(windows.start));
        start..within(end).max(start)
    }

    /// Returns the windows from the first that reaches one of `steps` to the last. If there is none, the range is empty.
    pub(crate) fn around(&self, steps: Range<usize>) -> Range<usize> {
        let (stride, last) = (place(self.stride), self.count.saturating_sub(1));
        let within = |window: i64| usize::try_from(window.max(0)).unwrap_or(usize::MAX);
        let reach = place(steps.start).saturating_sub(self.start).saturating_sub(place(self.extent()) - 1);
        let ahead = place(steps.end).saturating_sub(1).saturating_sub(self.start);
        let first = within(reach.saturating_add(stride - 1).max(0) / stride).min(last);
        let end = if ahead < 0 { 0 } else { within(ahead / stride).saturating_add(1).min(self.count) };
        first..end.max(first)
    }
}

impl Kind for WindowPool {
    fn name(&self) -> &'static str {
        "window_pool"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
        let extent = extent(self.size, self.dilation);
        if extent > MOST_STEPS {
            return wrong(format!("size: expected a window over at most {MOST_STEPS} steps, got one over {extent}"));
        }
        positive("size", self.size)?;
        positive("stride", self.stride)?;
        positive("dilation", self.dilation)?;
        if let PoolPadding::Around { before, after } = self.padding {
            for (key, steps) in [("before", before), ("after", after)] {
                // A window of padding alone would come to nothing.
                if steps >= extent {
                    return wrong(format!("{key}: expected fewer steps than a window spans, {extent}, got {steps}"));
                }
            }
        }
        match input {
            Flow::Steps(features) => Ok(Flow::Steps(features)),
            Flow::Tokens(_) | Flow::Rows(_) => unfit("a sequence".into(), input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} steps by {}", word(&Reduce::WORDS, &self.reduce), self.size, self.stride)
    }

    fn class(&self) -> &'static str {
        match self.reduce {
            Reduce::Max => "MaxPooling1D",
            Reduce::Mean => "AveragePooling1D",
            Reduce::Min => "Min",
            Reduce::Sum => "Sum",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_pytorch_and_tensorflow() {
        let around = |before, after| PoolPadding::Around { before, after };
        let pool = |size| WindowPool::new(Reduce::Mean, size);
        for (pool, time, count, start, counted) in [
            (pool(3), 7, 2, 0, [0, 7]),
            (pool(3).ceil(), 7, 3, 0, [0, 7]),
            (pool(3), 2, 0, 0, [0, 2]),
            (pool(3).stride(1).padding(around(1, 1)), 2, 2, -1, [0, 2]),
            (pool(3).padding(around(1, 1)).counts_padding(), 7, 3, -1, [-1, 8]),
            // PyTorch drops the last window if it would begin in the padding.
            (pool(2).stride(3).padding(around(1, 1)).ceil(), 5, 2, -1, [0, 5]),
            (pool(2).stride(3).padding(around(1, 1)).ceil(), 6, 3, -1, [0, 6]),
            (pool(3).stride(2).dilation(2), 8, 2, 0, [0, 8]),
            (pool(3).stride(2).dilation(2).padding(around(1, 2)), 1, 0, -1, [0, 1]),
            (pool(4).stride(2).padding(PoolPadding::Same), 7, 4, -1, [0, 7]),
            (pool(4).stride(2).padding(PoolPadding::SameStart), 7, 4, -2, [0, 7]),
            (pool(2).stride(5).padding(PoolPadding::Same), 7, 2, 0, [0, 7]),
        ] {
            let of = pool.windows(time);
            assert_eq!((of.count, of.start, of.counted), (count, start, counted), "{pool:?} of {time}");
        }
    }
}
