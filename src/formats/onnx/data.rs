//! Changes of the axes of data that flows: permuting, dropping, cutting, joining and splitting.
//!
//! Knows parts and features; knows no link and no node.

use ndarray::{ArrayD, IxDyn, concatenate};

use super::change::Change;
use super::cut::Cut;
use super::misfit;
use super::size::Size;
use super::value::{At, Axis, Data, Role, Segment};
use crate::error::Result;

/// The most segments of a cell.
const MAX_SEGMENTS: usize = 4096;

impl Data {
    pub(super) fn permuted(self, permutation: &[usize]) -> Self {
        let parts: Vec<usize> = permutation
            .iter()
            .flat_map(|&axis| {
                let first = self.part(axis);
                first..first + self.axes[axis].parts()
            })
            .collect();
        let axes = permutation.iter().map(|&axis| self.axes[axis].clone()).collect();
        Self { content: self.content.permuted_axes(IxDyn(&parts)), axes }
    }

    /// Repeats the data along axes of length 1, and along new axes before the first.
    pub(super) fn stretched(mut self, shape: &[Size]) -> Result<Self> {
        let more = shape.len().saturating_sub(self.axes.len());
        self.axes.splice(0..0, vec![Axis::one(); more]);
        for (axis, size) in self.axes.iter_mut().zip(shape).filter(|(axis, size)| axis.size != **size) {
            let one = matches!(axis.role, Role::One | Role::Open(_)) && axis.size.is(1);
            if !one {
                return Err(misfit(format!("repeats {} {size} times", Self::axis_text(axis))));
            }
            *axis = Axis::new(Role::Stretched, size.clone());
        }
        Ok(self)
    }

    /// Returns the data at other steps.
    pub(super) fn at(mut self, change: impl Fn(At) -> At) -> Self {
        self.content.iter_mut().flatten().for_each(|segment| segment.at = change(segment.at));
        self
    }

    /// Drops an axis of length 1.
    pub(super) fn dropped(mut self, axis: usize) -> Self {
        match self.axes[axis].role {
            Role::Parts => {
                let part = ndarray::Axis(self.part(axis));
                self.content = self.content.index_axis_move(part, 0);
            }
            // The only step is the last.
            Role::Time => self = self.at(|at| if at == At::All { At::Last } else { at }),
            _ => {}
        }
        self.axes.remove(axis);
        self
    }

    pub(super) fn cut(mut self, axis: usize, cut: Cut) -> Result<Self> {
        let size = self.axes[axis].size.clone();
        match (&self.axes[axis].role, cut) {
            (_, Cut::All) => {}
            (Role::Parts, Cut::Range { start, step, len }) => {
                let change = Change::Slice { axis: self.part(axis), start, step, len };
                self.content = change.apply(self.content);
                self.axes[axis].size = Size::len(len);
                if len == 1 {
                    self = self.dropped(axis);
                    self.axes.insert(axis, Axis::one());
                }
            }
            (Role::Features, Cut::Range { start, step: 1, len }) => {
                self.content.iter_mut().for_each(|cell| *cell = part_of(cell, start, len));
                self.axes[axis].size = Size::len(len);
            }
            (Role::Features, Cut::Range { start, step, len }) if len <= MAX_SEGMENTS => {
                let change = Change::Slice { axis: 0, start, step, len };
                let all = size.value().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                let places = change.apply(ArrayD::from_shape_fn(IxDyn(&[all]), |i| i[0]));
                self.content.iter_mut().for_each(|cell| {
                    *cell = fused(&places.iter().flat_map(|&place| part_of(cell, place, 1)).collect::<Vec<_>>());
                });
                self.axes[axis].size = Size::len(len);
            }
            (Role::Time, cut) => {
                let last = match cut {
                    Cut::Last => true,
                    Cut::Range { start, len: 1, .. } if size.is(Size::len(start + 1).value().unwrap_or(0)) => true,
                    Cut::Range { start: 0, len: 1, .. } => false,
                    _ => return Err(misfit("steps backwards, but for all of them before an RNN, LSTM or GRU".into())),
                };
                self = self.at(|at| match at {
                    At::All if last => At::Last,
                    At::All => At::First,
                    other => other,
                });
                self.axes[axis] = Axis::one();
            }
            (Role::One, Cut::Last | Cut::Range { len: 1, .. }) => {}
            (Role::Stretched, Cut::Last | Cut::Range { len: 1, .. }) => self.axes[axis] = Axis::one(),
            _ => return Err(misfit(format!("a part of {} along axis {axis}", self.axes_text()))),
        }
        Ok(self)
    }

    pub(super) fn concat(mut all: Vec<Self>, axis: usize) -> Result<Self> {
        let features = all.iter().all(|data| data.axes[axis].role == Role::Features);
        if !features {
            for data in &mut all {
                // An axis of length 1 is a part, unless a node has shown it to be time or batch.
                let one = matches!(data.axes[axis].role, Role::One | Role::Open(_)) && data.axes[axis].size.is(1);
                if one {
                    data.content = data.content.clone().insert_axis(ndarray::Axis(data.part(axis)));
                    data.axes[axis].role = Role::Parts;
                }
            }
        }
        let mut joined = all.remove(0);
        for other in all {
            let roles = joined.axes.iter().map(|a| &a.role).eq(other.axes.iter().map(|a| &a.role));
            if !roles || !(features || joined.axes[axis].role == Role::Parts) {
                let text = format!("joins {} and {} along axis {axis}", joined.axes_text(), other.axes_text());
                return Err(misfit(
                    text + ": expected values with the same axes, joined along features, steps or parts",
                ));
            }
            let size = joined.axes[axis].size.plus(&other.axes[axis].size);
            joined.axes[axis].size = size.ok_or_else(|| misfit("joins parts of unknown lengths".into()))?;
            if features {
                joined.content.zip_mut_with(&other.content, |a, b| a.extend(b.iter().cloned()));
            } else {
                let part = ndarray::Axis(joined.part(axis));
                joined.content = concatenate(part, &[joined.content.view(), other.content.view()])
                    .map_err(|e| misfit(format!("joins parts that do not fit: {e}")))?;
            }
            if joined.segments().count() > MAX_SEGMENTS {
                return Err(misfit(format!("joins more than {MAX_SEGMENTS} parts")));
            }
        }
        joined.content.iter_mut().for_each(|cell| *cell = fused(cell));
        Ok(joined)
    }

    /// Joins `count` axes from `first` on into one. They are all parts, or parts before
    /// the features, or time and batch, or rows of the batch before parts: heads of an attention.
    pub(super) fn joined(mut self, first: usize, count: usize) -> Result<Self> {
        let axes = self.axes[first..first + count].to_vec();
        let size = Size::product(axes.iter().map(|axis| &axis.size));
        let size = size.ok_or_else(|| misfit(format!("joins axes of {}", self.axes_text())))?;
        let parts = axes.iter().filter(|axis| axis.role == Role::Parts).count();
        let features = axes.iter().any(|axis| axis.role == Role::Features);
        let role = if parts + usize::from(features) == count && axes[..parts].iter().all(|a| a.role == Role::Parts) {
            let (part, shape) = (self.part(first), self.content.shape().to_vec());
            let joined: usize = shape[part..part + parts].iter().product();
            let mut flat = [&shape[..part], &[joined], &shape[part + parts..]].concat();
            self.content = Change::Reshape(flat.clone()).apply(self.content);
            if features {
                flat.remove(part);
                let rest: usize = shape[part + parts..].iter().product();
                let all: Vec<&Vec<Segment>> = self.content.iter().collect();
                let cell = |i: usize| {
                    let (outer, inner) = (i / rest, i % rest);
                    let parts = (0..joined).flat_map(|k| all[(outer * joined + k) * rest + inner].clone());
                    fused(&parts.collect::<Vec<_>>())
                };
                let cells = (0..flat.iter().product()).map(cell).collect();
                self.content = ArrayD::from_shape_vec(IxDyn(&flat), cells).expect("one cell for each place");
                Role::Features
            } else {
                Role::Parts
            }
        } else if !features && (parts == 0 || axes[count - parts..].iter().all(|axis| axis.role == Role::Parts)) {
            Role::Joined(axes)
        } else {
            return Err(misfit(format!("joins axes {first} to {} of {}", first + count - 1, self.axes_text())));
        };
        self.axes.splice(first..first + count, [Axis::new(role, size)]);
        Ok(self)
    }

    /// Splits axis `axis` into axes of `sizes`: features into parts, or parts into parts.
    pub(super) fn split(mut self, axis: usize, sizes: &[usize]) -> Result<Self> {
        let part = self.part(axis);
        let shape = self.content.shape().to_vec();
        let (roles, content) = match self.axes[axis].role {
            Role::Parts => {
                let split = [&shape[..part], sizes, &shape[part + 1..]].concat();
                (vec![Role::Parts; sizes.len()], Change::Reshape(split).apply(self.content))
            }
            Role::Features => {
                let (len, parts) = sizes.split_last().expect("a split has parts");
                let count: usize = parts.iter().product();
                if count > MAX_SEGMENTS || count == 0 || self.content.len().saturating_mul(count) > MAX_SEGMENTS {
                    return Err(misfit(format!("expected at most {MAX_SEGMENTS} parts, got {count}")));
                }
                let rest: usize = shape[part..].iter().product();
                let all: Vec<&Vec<Segment>> = self.content.iter().collect();
                let cells = (0..all.len() * count).map(|i| {
                    let (outer, k, inner) = (i / (count * rest), i / rest % count, i % rest);
                    part_of(all[outer * rest + inner], k * len, *len)
                });
                let split = [&shape[..part], parts, &shape[part..]].concat();
                let content = ArrayD::from_shape_vec(IxDyn(&split), cells.collect()).expect("one cell for each place");
                ([vec![Role::Parts; parts.len()], vec![Role::Features]].concat(), content)
            }
            _ => return Err(misfit(format!("splits axis {axis} of {}", self.axes_text()))),
        };
        self.content = content;
        let axes = roles.into_iter().zip(sizes).map(|(role, &size)| Axis::new(role, Size::len(size)));
        self.axes.splice(axis..=axis, axes.collect::<Vec<_>>());
        Ok(self)
    }
}

/// Returns `len` features from `start` on.
fn part_of(segments: &[Segment], start: usize, len: usize) -> Vec<Segment> {
    let mut before = 0;
    let mut parts = Vec::new();
    for segment in segments {
        let (begin, end) = (start.max(before), (start + len).min(before + segment.len));
        if begin < end {
            parts.push(Segment { start: segment.start + begin - before, len: end - begin, ..segment.clone() });
        }
        before += segment.len;
    }
    parts
}

/// Joins consecutive segments that continue each other.
fn fused(segments: &[Segment]) -> Vec<Segment> {
    let mut fused: Vec<Segment> = Vec::with_capacity(segments.len());
    for segment in segments {
        match fused.last_mut() {
            Some(last)
                if (last.link, last.at) == (segment.link, segment.at) && last.start + last.len == segment.start =>
            {
                last.len += segment.len;
            }
            _ => fused.push(segment.clone()),
        }
    }
    fused
}
