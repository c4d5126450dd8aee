//! What a change of axes does to each kind of value: permuting, inserting, dropping, cutting, joining end to end.
//!
//! The operators of `moves` are made of these. Knows values; knows no node.

use ndarray::{ArrayD, IxDyn, concatenate};

use super::change::Change;
use super::constant::{Constant, MAX_NUMBERS, MAX_RANK};
use super::cut::Cut;
use super::misfit;
use super::size::{Size, shape_text};
use super::value::{At, Axis, Data, Feed, FeedAxis, Fill, Filled, Repeated, Role, Segment, Value};
use crate::error::Result;

/// More segments than this come from no model.
const MAX_SEGMENTS: usize = 4096;

impl Value {
    /// The lengths of the axes.
    pub(super) fn sizes(&self) -> Result<Vec<Size>> {
        Ok(match self {
            Self::Constant(constant) => constant.dims().iter().map(|&n| Size::len(n)).collect(),
            Self::Numbers(numbers) => numbers.shape().iter().map(|&n| Size::len(n)).collect(),
            Self::Filled(filled) => filled.shape.clone(),
            Self::Repeated(repeated) => repeated.shape.clone(),
            Self::Input(feed) => feed.axes.iter().map(|axis| axis.size.clone()).collect(),
            Self::Tokens(tokens) => tokens.feed.axes.iter().map(|axis| axis.size.clone()).collect(),
            Self::Data(data) => data.axes.iter().map(|axis| axis.size.clone()).collect(),
            Self::Unread(what) => return Err(misfit(what.clone())),
        })
    }

    /// The length of axis `axis`: the one way to it, since an axis that one value has another may lack.
    pub(super) fn size(&self, axis: usize) -> Result<Size> {
        let sizes = self.sizes()?;
        sizes.get(axis).cloned().ok_or_else(|| misfit(format!("expected an axis below {}, got {axis}", sizes.len())))
    }

    /// The place of axis `axis`, which counts from the end where it is negative, among `rank` axes.
    pub(super) fn axis(axis: i64, rank: usize) -> Result<usize> {
        let from_start = if axis < 0 { axis.saturating_add(Size::len(rank).value().unwrap_or(0)) } else { axis };
        usize::try_from(from_start)
            .ok()
            .filter(|&axis| axis < rank)
            .ok_or_else(|| misfit(format!("expected an axis of {rank}, got {axis}")))
    }

    /// Axis `i` of the result is axis `permutation[i]`.
    pub(super) fn permuted(self, permutation: &[usize]) -> Result<Self> {
        let mut seen = permutation.to_vec();
        seen.sort_unstable();
        let rank = self.sizes()?.len();
        if !seen.iter().copied().eq(0..rank) {
            return Err(misfit(format!("expected each of {rank} axes once, got {permutation:?}")));
        }
        let change = || Change::Permute(permutation.to_vec());
        Ok(match self {
            Self::Repeated(Repeated { constant, shape }) => Self::Repeated(Repeated {
                constant: constant.changed(change())?,
                shape: permutation.iter().map(|&i| shape[i].clone()).collect(),
            }),
            Self::Constant(constant) => Self::Constant(constant.changed(change())?),
            Self::Numbers(numbers) => Self::Numbers(change().apply(numbers)),
            Self::Filled(Filled { fill, shape }) => {
                Self::Filled(Filled { fill, shape: permutation.iter().map(|&i| shape[i].clone()).collect() })
            }
            Self::Input(feed) => {
                Self::Input(Feed { axes: permutation.iter().map(|&i| feed.axes[i].clone()).collect(), ..feed })
            }
            Self::Data(data) => Self::Data(data.permuted(permutation)),
            other => return Err(misfit(format!("moves axes of {}", other.kind()))),
        })
    }

    /// With an axis of length 1 before axis `at`.
    pub(super) fn inserted(self, at: usize) -> Result<Self> {
        let rank = self.sizes()?.len();
        if at > rank || rank >= MAX_RANK {
            return Err(misfit(format!("an axis {at} put into {rank} axes")));
        }
        Ok(match self {
            Self::Constant(constant) => {
                let mut dims = constant.dims().to_vec();
                dims.insert(at, 1);
                Self::Constant(constant.changed(Change::Reshape(dims))?)
            }
            Self::Numbers(numbers) => Self::Numbers(numbers.insert_axis(ndarray::Axis(at))),
            Self::Filled(mut filled) => {
                filled.shape.insert(at, Size::of(1));
                Self::Filled(filled)
            }
            Self::Repeated(Repeated { constant, mut shape }) => {
                shape.insert(at, Size::of(1));
                let mut dims = constant.dims().to_vec();
                dims.insert(at, 1);
                Self::Repeated(Repeated { constant: constant.changed(Change::Reshape(dims))?, shape })
            }
            Self::Input(mut feed) => {
                feed.axes.insert(at, FeedAxis::one());
                Self::Input(feed)
            }
            Self::Data(mut data) => {
                data.axes.insert(at, Axis::one());
                Self::Data(data)
            }
            other => return Err(misfit(format!("moves axes of {}", other.kind()))),
        })
    }

    /// Without axis `axis`, whose length is 1.
    pub(super) fn dropped(self, axis: usize) -> Result<Self> {
        let size = self.size(axis)?;
        if !size.is(1) {
            return Err(misfit(format!("expected an axis of length 1 to drop, got {size}")));
        }
        Ok(match self {
            Self::Constant(constant) => {
                let mut dims = constant.dims().to_vec();
                dims.remove(axis);
                Self::Constant(constant.changed(Change::Reshape(dims))?)
            }
            Self::Numbers(numbers) => Self::Numbers(numbers.index_axis_move(ndarray::Axis(axis), 0)),
            Self::Filled(mut filled) => {
                filled.shape.remove(axis);
                Self::Filled(filled)
            }
            Self::Repeated(Repeated { constant, mut shape }) => {
                shape.remove(axis);
                let mut dims = constant.dims().to_vec();
                dims.remove(axis);
                Self::Repeated(Repeated { constant: constant.changed(Change::Reshape(dims))?, shape })
            }
            Self::Input(mut feed) => {
                if !feed.axes[axis].whole {
                    return Err(misfit("a part of an input without its axis".into()));
                }
                feed.axes.remove(axis);
                Self::Input(feed)
            }
            Self::Data(data) => Self::Data(data.dropped(axis)),
            other => return Err(misfit(format!("moves axes of {}", other.kind()))),
        })
    }

    /// With `cut` of axis `axis` alone.
    pub(super) fn cut(self, axis: usize, cut: Cut) -> Result<Self> {
        let size = self.size(axis)?;
        let range = match cut {
            Cut::All => return Ok(self),
            Cut::Range { start, step, len } => Some((start, step, len)),
            Cut::Last => None,
        };
        let change = |(start, step, len)| Change::Slice { axis, start, step, len };
        Ok(match (self, range) {
            (Self::Constant(constant), Some(range)) => Self::Constant(constant.changed(change(range))?),
            (Self::Numbers(numbers), Some(range)) => Self::Numbers(change(range).apply(numbers)),
            (Self::Filled(mut filled), _) => {
                filled.shape[axis] = cut.len(&size);
                Self::Filled(filled)
            }
            (Self::Repeated(Repeated { mut constant, mut shape }), range) => {
                shape[axis] = cut.len(&size);
                // Of an axis that is repeated, every part is the same.
                if let (Some(range), false) = (range, constant.dims()[axis] == 1) {
                    constant = constant.changed(change(range))?;
                }
                Self::Repeated(Repeated { constant, shape })
            }
            (Self::Input(mut feed), Some((start, 1, len))) => {
                let old = &mut feed.axes[axis];
                if old.source.is_some() {
                    *old = FeedAxis { start: old.start + start, size: Size::len(len), whole: false, ..old.clone() };
                }
                Self::Input(feed)
            }
            (Self::Data(data), _) => Self::Data(data.cut(axis, cut)?),
            (other, _) => return Err(misfit(format!("a slice of {}", other.kind()))),
        })
    }

    /// `values` end to end along `axis`. `limit`: the most elements.
    pub(super) fn concat(values: Vec<Self>, axis: usize, limit: usize) -> Result<Self> {
        let lengths = values.iter().map(|value| value.size(axis)).collect::<Result<Vec<_>>>()?;
        let along = lengths.iter().try_fold(Size::of(0), |sum, size| sum.plus(size));
        let sizes = values.iter().map(Self::sizes).collect::<Result<Vec<_>>>()?;
        let alike = |a: &[Size], b: &[Size]| {
            a.len() == b.len() && a.iter().zip(b).enumerate().all(|(at, (a, b))| at == axis || a == b)
        };
        if let Some(pair) = sizes.windows(2).find(|pair| !alike(&pair[0], &pair[1])) {
            let (a, b) = (shape_text(&pair[0]), shape_text(&pair[1]));
            return Err(misfit(format!("expected tensors that differ in axis {axis} alone, got {a} and {b}")));
        }
        let dim = ndarray::Axis(axis);
        let kinds = values.iter().map(Self::kind).collect::<Vec<_>>().join(", ");
        if let Some(all) = every(&values, |v| if let Self::Numbers(n) = v { Some(n.view()) } else { None }) {
            let joined = concatenate(dim, &all).map_err(|e| misfit(format!("numbers that do not fit: {e}")))?;
            if joined.len() <= MAX_NUMBERS {
                return Ok(Self::Numbers(joined));
            }
        } else if let Some(all) = every(&values, |v| if let Self::Filled(f) = v { Some(f) } else { None }) {
            if let (Some(along), true) = (along, all.windows(2).all(|pair| pair[0].fill == pair[1].fill)) {
                let mut filled = all[0].clone();
                filled.shape[axis] = along;
                return Ok(Self::Filled(filled));
            }
        } else if let Some(all) = every(&values, |v| if let Self::Data(d) = v { Some(d.clone()) } else { None }) {
            return Data::concat(all, axis).map(Self::Data);
        } else if let Some(all) = every(&values, |v| if let Self::Constant(c) = v { Some(c.clone()) } else { None }) {
            let mut shape = all[0].dims().to_vec();
            shape[axis] = all.iter().fold(0, |n: usize, constant| n.saturating_add(constant.dims()[axis]));
            return Constant::computed(all, shape, limit, move |arrays| {
                let views: Vec<_> = arrays.iter().map(|array| array.view()).collect();
                concatenate(dim, &views).expect("arrays that differ in one axis alone")
            })
            .map(Self::Constant);
        }
        Err(misfit(format!("joins {kinds}")))
    }
}

/// `f` of each, if it is something for all of at least one.
fn every<'a, T>(values: &'a [Value], f: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<T>> {
    values.iter().map(f).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
}

impl Data {
    fn permuted(self, permutation: &[usize]) -> Self {
        let parts: Vec<usize> = permutation
            .iter()
            .filter(|&&axis| self.axes[axis].role == Role::Parts)
            .map(|&axis| self.part(axis))
            .collect();
        let axes = permutation.iter().map(|&axis| self.axes[axis].clone()).collect();
        Self { content: self.content.permuted_axes(IxDyn(&parts)), axes }
    }

    /// The same at other steps.
    fn at(mut self, change: impl Fn(At) -> At) -> Self {
        self.content.iter_mut().flatten().for_each(|segment| segment.at = change(segment.at));
        self
    }

    /// Without an axis of length 1.
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

    fn cut(mut self, axis: usize, cut: Cut) -> Result<Self> {
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
            (Role::Time, cut) => {
                let last = match cut {
                    Cut::Last => true,
                    Cut::Range { start, len: 1, .. } if size.is(Size::len(start + 1).value().unwrap_or(0)) => true,
                    Cut::Range { start: 0, len: 1, .. } => false,
                    _ => return Err(misfit("a part of the steps that is neither the first nor the last".into())),
                };
                self = self.at(|at| match at {
                    At::All if last => At::Last,
                    At::All => At::First,
                    other => other,
                });
                self.axes[axis] = Axis::one();
            }
            (Role::One, Cut::Last | Cut::Range { len: 1, .. }) => {}
            _ => return Err(misfit(format!("a part of {} along axis {axis}", self.axes_text()))),
        }
        Ok(self)
    }

    fn concat(mut all: Vec<Self>, axis: usize) -> Result<Self> {
        let features = all.iter().all(|data| data.axes[axis].role == Role::Features);
        if !features {
            for data in &mut all {
                if data.axes[axis].role == Role::One {
                    data.content = data.content.clone().insert_axis(ndarray::Axis(data.part(axis)));
                    data.axes[axis].role = Role::Parts;
                }
            }
        }
        let is_cell = |data: &Self| data.segments().any(|segment| segment.at == At::Cell);
        if all.iter().any(is_cell) && !all.iter().all(is_cell) {
            return Err(misfit("joins final cell states and something else: this is no chain of layers".into()));
        }
        let mut joined = all.remove(0);
        for other in all {
            let roles = joined.axes.iter().map(|a| &a.role).eq(other.axes.iter().map(|a| &a.role));
            if !roles || !(features || joined.axes[axis].role == Role::Parts) {
                return Err(misfit(format!(
                    "joins {} and {} along axis {axis}",
                    joined.axes_text(),
                    other.axes_text()
                )));
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

    /// The axes `axes`, which stand one after the other, in one: parts in one axis, or parts in the features after
    /// them, or time and batch.
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
        } else if parts == 0 && !features {
            Role::Joined(axes)
        } else {
            return Err(misfit(format!("joins axes {first} to {} of {}", first + count - 1, self.axes_text())));
        };
        self.axes.splice(first..first + count, [Axis::new(role, size)]);
        Ok(self)
    }

    /// Axis `axis` as axes of `sizes`: features in parts, or parts in parts.
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

/// `len` features from `start` on.
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

/// With neighbours that follow each other in one.
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

/// Zeros or another number, as constants of a known shape.
pub(super) fn constant_of(filled: &Filled, limit: usize) -> Result<Constant> {
    let Fill::Real(x) = filled.fill else { return Err(misfit("whole numbers where real ones are expected".into())) };
    let shape =
        filled.shape.iter().map(|n| n.value().and_then(|n| usize::try_from(n).ok())).collect::<Option<Vec<_>>>();
    let shape =
        shape.ok_or_else(|| misfit("a tensor whose shape depends on the call, where weights are expected".into()))?;
    Constant::filled(x, shape, limit)
}
