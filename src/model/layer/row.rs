//! The windows that a row of a batch has: those that it would have alone.
//!
//! A row runs from its first live step to its last. Knows layers; knows no call.

use std::ops::Range;

use super::LayerKind;

/// Windows along a sequence of a known number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// The number of windows.
    pub(crate) count: usize,
    /// Steps from the begin of a window to that of the next.
    pub(crate) stride: usize,
    /// The steps of padding before the sequence.
    pub(crate) before: usize,
    /// The steps that a window spans.
    pub(crate) span: usize,
}

/// Why a row of a batch cannot have what it would have alone: what was expected, and what to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unlike {
    pub(crate) text: String,
    pub(crate) hint: &'static str,
}

impl LayerKind {
    /// Returns the windows along `time` steps, if a row has those between its own ends. A layer that reads all steps
    /// has them along the whole axis.
    pub(crate) fn places(&self, time: usize) -> Option<Places> {
        match self {
            Self::Conv1d(conv) if !conv.keeps_time() && !conv.all_steps => Some(conv.places(time)),
            Self::WindowPool(pool) if !pool.all_steps => Some(pool.places(time)),
            _ => None,
        }
    }

    /// Returns the windows of a row whose steps are `row` of `time`. `all` are those of the whole axis, which
    /// [`places`](Self::places) returned.
    ///
    /// # Errors
    ///
    /// Returns why, if the row would have other windows alone.
    pub(crate) fn windows_of(&self, row: Range<usize>, time: usize, all: Places) -> Result<Range<usize>, Unlike> {
        if row.is_empty() {
            return Ok(0..0);
        }
        if row == (0..time) {
            return Ok(0..all.count);
        }
        let unlike = |text, hint| Err(Unlike { text, hint });
        let (first, len) = (row.start, row.len());
        if !first.is_multiple_of(all.stride) {
            return unlike(
                format!("expected its first step at a multiple of the stride, {}, got {first}", all.stride),
                "pad rows at their end, and give their lengths",
            );
        }
        let own = self.places(len).unwrap_or(Places { count: 0, ..all });
        if own.count > 0 && own.before != all.before {
            return unlike(
                format!("expected padding of {} before it, as before all {time} steps, got {}", all.before, own.before),
                "with a stride, the padding \"same\" before a row depends on its length; try another padding",
            );
        }
        if let Self::WindowPool(pool) = self
            && row.end < time
            && pool.counts_past_end(len)
        {
            return unlike(
                "expected windows that end in the padding, got one that reaches past it (ceil)".into(),
                "with counts_padding, a mean would count steps of other rows; leave out one of the two",
            );
        }
        let begin = first / all.stride;
        Ok(begin..begin.saturating_add(own.count).min(all.count).max(begin))
    }

    /// Whether a row may have other windows alone than in a batch, for some lengths of the two.
    pub(crate) fn depends_on_length(&self) -> bool {
        match self {
            Self::Conv1d(conv) => !conv.all_steps && conv.depends_on_length(),
            Self::WindowPool(pool) => !pool.all_steps && pool.depends_on_length(),
            _ => false,
        }
    }

    /// Whether which steps the layer takes depends on the first step of a row.
    pub(crate) fn depends_on_begin(&self) -> bool {
        match self {
            Self::SliceSteps(slice) => slice.step > 1 && !slice.all_steps,
            _ => self.places(1).is_some_and(|places| places.stride > 1),
        }
    }

    /// Returns the steps that the layer needs at least, and why, if `time` are too few for one window.
    pub(crate) fn wants_steps(&self, time: usize) -> Option<String> {
        let (places, what) = match self {
            Self::Conv1d(conv) => (conv.places(time), "kernel"),
            Self::WindowPool(pool) => (pool.places(time), "window"),
            _ => return None,
        };
        (places.count == 0)
            .then(|| format!("expected at least {} steps with the padding, which its {what} spans", places.span))
    }
}

/// Whether the padding before a sequence differs among numbers of steps. It is `at` of as many steps as there must be,
/// so that there is a window for each stride.
pub(super) fn differs(span: usize, stride: usize, at: impl Fn(usize) -> usize) -> bool {
    // The last window begins 1 to `stride` steps before the end.
    at(span.saturating_sub(1)) != at(span.saturating_sub(stride))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Conv1d, ConvPadding, PoolPadding, Reduce, WindowPool};

    fn of(kind: impl Into<LayerKind>, row: Range<usize>, time: usize) -> Result<Range<usize>, String> {
        let kind = kind.into();
        let all = kind.places(time).expect("windows");
        kind.windows_of(row, time, all).map_err(|unlike| unlike.text)
    }

    #[test]
    fn a_row_has_the_windows_that_it_has_alone() {
        let conv = |stride| Conv1d::new(2, 3, 3).stride(stride);
        let max = |size| WindowPool::new(Reduce::Max, size);
        assert_eq!(of(conv(1), 0..5, 9), Ok(0..3));
        assert_eq!(of(conv(1), 3..9, 9), Ok(3..7));
        assert_eq!(of(conv(2), 4..9, 9), Ok(2..4));
        assert_eq!(of(conv(1), 3..5, 9), Ok(3..3), "a row shorter than the kernel has none");
        assert_eq!(of(max(2), 0..5, 9), Ok(0..2));
        assert_eq!(of(max(2).ceil(), 0..5, 9), Ok(0..3));
        assert_eq!(of(max(2).padding(PoolPadding::Same), 0..5, 8), Ok(0..3));
        assert_eq!(of(max(2), 0..0, 9), Ok(0..0));
    }

    #[test]
    fn what_a_row_cannot_have_in_a_batch_is_told() {
        let same = Conv1d::new(2, 3, 3).stride(2).padding(ConvPadding::Same);
        assert_eq!(of(same.clone(), 0..7, 9), Ok(0..4));
        let text = "expected padding of 1 before it, as before all 9 steps, got 0";
        assert_eq!(of(same.clone(), 0..6, 9).unwrap_err(), text);
        let text = "expected its first step at a multiple of the stride, 2, got 3";
        assert_eq!(of(same.clone(), 3..9, 9).unwrap_err(), text);
        let mean = WindowPool::new(Reduce::Mean, 2).ceil().counts_padding();
        assert_eq!(of(mean, 0..4, 9), Ok(0..2));
        assert!(of(mean, 0..3, 9).unwrap_err().ends_with("reaches past it (ceil)"));
        assert_eq!(of(WindowPool::new(Reduce::Max, 2).ceil().counts_padding(), 0..3, 9), Ok(0..2));
    }

    #[test]
    fn whether_any_row_can_be_unlike_is_known_before_a_call() {
        let of = |kind: LayerKind| {
            let differs = (1..40).flat_map(|time| (1..time).map(move |len| (time, len)));
            let differs = differs
                .filter(|&(time, len)| kind.windows_of(0..len, time, kind.places(time).expect("windows")).is_err());
            assert_eq!(kind.depends_on_length(), differs.count() > 0, "{kind:?}");
        };
        for (span, stride) in (1..7).flat_map(|span| (2..6).map(move |stride| (span, stride))) {
            of(Conv1d::new(1, 1, span).stride(stride).padding(ConvPadding::Same).into());
            for padding in [PoolPadding::NONE, PoolPadding::Same, PoolPadding::SameStart] {
                of(WindowPool::new(Reduce::Mean, span).stride(stride).padding(padding).into());
            }
        }
        of(WindowPool::new(Reduce::Mean, 3).ceil().counts_padding().into());
    }
}
