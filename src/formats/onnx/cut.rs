//! Which part of an axis a slice or an index leaves, where lengths may be those of a call.
//!
//! Knows sizes; knows no value and no node.

use super::misfit;
use super::size::Size;
use crate::error::Result;

/// Which part of an axis stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// All of it.
    All,
    /// The last element, where the length is a call's.
    Last,
    /// All of it, last element first, where the length is a call's.
    Reversed,
    /// `len` elements from `start` on, `step` apart.
    Range { start: usize, step: i64, len: usize },
}

impl Cut {
    /// What `start..end` by `step` leaves of an axis of `size`, by the rules of Slice.
    pub(super) fn of(size: &Size, start: &Size, end: &Size, step: i64) -> Result<Self> {
        let far = |size: &Size| size.value().is_some_and(|n| n >= i64::from(i32::MAX));
        if let (Some(n), Some(start), Some(end)) = (size.value(), start.value(), end.value()) {
            return Self::known(n, start, end, step);
        }
        let last = size.minus(&Size::of(1));
        let is_end = end == size || far(end);
        let ends_before = end.value().is_some_and(|n| n <= -i64::from(i32::MAX));
        match start.value() {
            Some(-1) if step == -1 && ends_before => return Ok(Self::Reversed),
            _ if step == -1 && last.as_ref() == Some(start) && ends_before => return Ok(Self::Reversed),
            _ if step != 1 => {}
            Some(0) if is_end => return Ok(Self::All),
            Some(0) if end.is(1) => return Ok(Self::Range { start: 0, step: 1, len: 1 }),
            Some(-1) if is_end => return Ok(Self::Last),
            _ if last.as_ref() == Some(start) && is_end => return Ok(Self::Last),
            _ => {}
        }
        Err(misfit(format!("expected all, the first or the last of {size}, got {start}..{end} by {step}")))
    }

    fn known(n: i64, start: i64, end: i64, step: i64) -> Result<Self> {
        if step == 0 || n < 0 {
            return Err(misfit(format!("a slice of {n} by {step}")));
        }
        let from_end = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        let start = from_end(start).clamp(low.max(0), high.max(0));
        // A negative end is counted from the end; what is before the first element ends a slice that goes backwards.
        let end = from_end(end).clamp(low, high.max(low));
        let distance = if step > 0 { end - start } else { start - end };
        let len = if distance <= 0 { 0 } else { (distance - 1) / step.saturating_abs() + 1 };
        let size = |n: i64| usize::try_from(n).map_err(|e| misfit(format!("a slice from {n}")).because(e));
        let (start, len, n) = (size(start)?, size(len)?, size(n)?);
        let all = start == 0 && step == 1 && len == n;
        Ok(if all { Self::All } else { Self::Range { start, step, len } })
    }

    /// The element `index` alone, counted from the end where it is negative.
    pub(super) fn one(size: &Size, index: &Size) -> Result<Self> {
        if let (Some(n), Some(i)) = (size.value(), index.value()) {
            let start = usize::try_from(if i < 0 { i.saturating_add(n) } else { i }).ok();
            return match start {
                Some(start) if i < n => Ok(Self::Range { start, step: 1, len: 1 }),
                _ => Err(misfit(format!("expected an index below {n}, got {i}"))),
            };
        }
        match index.value() {
            Some(0) => Ok(Self::Range { start: 0, step: 1, len: 1 }),
            Some(-1) => Ok(Self::Last),
            _ if size.minus(&Size::of(1)).as_ref() == Some(index) => Ok(Self::Last),
            _ => Err(misfit(format!("expected the first or the last of {size}, got {index}"))),
        }
    }

    /// Whether it is all of an axis of `size`, last element first.
    pub(super) fn is_reversed(self, size: &Size) -> bool {
        match self {
            Self::Reversed => true,
            Self::Range { start, step: -1, len } => len > 1 && start == len - 1 && *size == Size::len(len),
            _ => false,
        }
    }

    /// How many elements stay of `size`.
    pub(super) fn len(self, size: &Size) -> Size {
        match self {
            Self::All | Self::Reversed => size.clone(),
            Self::Last => Size::of(1),
            Self::Range { len, .. } => Size::len(len),
        }
    }
}
