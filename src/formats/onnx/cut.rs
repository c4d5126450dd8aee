//! The part of an axis that a slice or an index leaves. Lengths may depend on a call.
//!
//! Knows sizes; knows no value and no node.

use super::misfit;
use super::size::Size;
use crate::error::Result;
use crate::model::SliceSteps;

/// The part of an axis that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// All of it.
    All,
    /// The last element of an axis whose length depends on a call.
    Last,
    /// All of it, last element first, for an axis whose length depends on a call.
    Reversed,
    /// A part as in Python's slices, for an axis whose length depends on a call.
    Stretch(SliceSteps),
    /// `len` elements from `start` on, `step` apart.
    Range { start: usize, step: i64, len: usize },
}

impl Cut {
    /// Returns what `start..end` by `step` leaves of an axis of `size`, by the rules of Slice.
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
        let unread = || {
            if step <= 0 {
                let text = format!("a step of {step} along an axis whose length, {size}, is known in a call alone");
                return misfit(text + ": expected one above 0, or -1 for all of it from its end");
            }
            let end = if far(end) { "its end".to_owned() } else { end.to_string() };
            misfit(format!("expected places that the file or shapes tell, got {start} to {end} of {size}"))
        };
        // A place that depends on the length counts from the end.
        let place = |at: &Size| at.value().or_else(|| at.minus(size)?.value().filter(|&behind| behind < 0));
        let (first, step) = place(start).zip(usize::try_from(step).ok().filter(|&step| step > 0)).ok_or_else(unread)?;
        let end = if is_end { None } else { Some(place(end).ok_or_else(unread)?) };
        Ok(Self::Stretch(SliceSteps { start: first, end, step, ..SliceSteps::default() }))
    }

    fn known(n: i64, start: i64, end: i64, step: i64) -> Result<Self> {
        if step == 0 || n < 0 {
            return Err(misfit(format!("a slice of {n} by {step}")));
        }
        let from_end = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        let start = from_end(start).clamp(low.max(0), high.max(0));
        // A negative end counts from the end. An end before the first element ends a slice that goes backwards.
        let end = from_end(end).clamp(low, high.max(low));
        let distance = if step > 0 { end - start } else { start - end };
        let len = if distance <= 0 { 0 } else { (distance - 1) / step.saturating_abs() + 1 };
        let size = |n: i64| usize::try_from(n).map_err(|e| misfit(format!("a slice from {n}")).because(e));
        let (start, len, n) = (size(start)?, size(len)?, size(n)?);
        let all = start == 0 && step == 1 && len == n;
        Ok(if all { Self::All } else { Self::Range { start, step, len } })
    }

    /// Returns only the element `index`; a negative one counts from the end.
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
            _ => match index.plus(&Size::of(1)) {
                Some(end) => Self::of(size, index, &end, 1),
                None => Err(misfit(format!("expected a whole number below {size}, got {index}"))),
            },
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

    /// Returns how many elements of `size` stay, if that is known before a call.
    pub(super) fn len(self, size: &Size) -> Option<Size> {
        match self {
            Self::All | Self::Reversed => Some(size.clone()),
            Self::Last => Some(Size::of(1)),
            Self::Range { len, .. } => Some(Size::len(len)),
            Self::Stretch(SliceSteps { start, end: Some(end), .. }) if start.checked_add(1) == Some(end) => {
                Some(Size::of(1))
            }
            Self::Stretch(SliceSteps { start: start @ 0.., end: None, step: 1, .. }) => size.minus(&Size::of(start)),
            Self::Stretch(SliceSteps { start: start @ 0.., end: Some(end @ ..0), step: 1, .. }) => {
                size.minus(&Size::of(start))?.plus(&Size::of(end))
            }
            Self::Stretch(_) => None,
        }
    }

    /// Returns the steps that it leaves of a time axis of `size`.
    /// Returns `None` for all steps, for only the first or the last, and for steps that go backwards.
    pub(super) fn stretch(self, size: &Size) -> Option<SliceSteps> {
        let place = |at: usize| i64::try_from(at).ok();
        match self {
            Self::Stretch(slice) => Some(slice),
            Self::Range { start, step: 1, len } if len > 0 => {
                let end = start.checked_add(len)?;
                let to_the_end = *size == Size::len(end);
                let lone = len == 1 && (start == 0 || to_the_end);
                let end = if to_the_end { None } else { Some(place(end)?) };
                (!lone).then_some(SliceSteps { start: place(start)?, end, ..SliceSteps::default() })
            }
            Self::Range { start, step: step @ 2.., len } if len > 1 => {
                let step = usize::try_from(step).ok()?;
                let last = start.checked_add(step.checked_mul(len - 1)?)?;
                // To the end of any sequence, if it is to the end of this one.
                let is_last =
                    size.value().and_then(|n| usize::try_from(n).ok()).is_some_and(|n| n.saturating_sub(last) <= step);
                let end = if is_last { None } else { Some(place(last + 1)?) };
                Some(SliceSteps { start: place(start)?, end, step, ..SliceSteps::default() })
            }
            _ => None,
        }
    }
}
