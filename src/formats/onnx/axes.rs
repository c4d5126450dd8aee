//! Changes of the axes of each kind of value: permuting, inserting, dropping, cutting and concatenating.
//!
//! The operators of `moves` are built on these; `data` has those for data that flows. Knows values; knows no node.

use ndarray::concatenate;

use super::change::Change;
use super::constant::{Constant, MAX_NUMBERS, MAX_RANK};
use super::cut::Cut;
use super::misfit;
use super::size::{Known, Size, shape_text};
use super::value::{Axis, Data, Feed, FeedAxis, Fill, Filled, Repeated, Role, ScoreAxis, Tokens, Value};
use crate::error::Result;
use crate::model::SliceSteps;

impl Value {
    /// Returns the lengths of the axes.
    pub(super) fn sizes(&self) -> Result<Vec<Size>> {
        Ok(match self {
            Self::Constant(constant) | Self::Whole(constant) => constant.dims().iter().map(|&n| Size::len(n)).collect(),
            Self::Numbers(numbers) => numbers.shape().iter().map(|&n| Size::len(n)).collect(),
            Self::Filled(filled) => filled.shape.clone(),
            Self::Repeated(repeated) => repeated.shape.clone(),
            Self::Input(feed) => feed.axes.iter().map(|axis| axis.size.clone()).collect(),
            Self::Delayed(delayed) => delayed.sizes()?,
            Self::Tokens(tokens) => tokens.feed.axes.iter().map(|axis| axis.size.clone()).collect(),
            Self::Sorted(sorted) => vec![sorted.rows.clone()],
            Self::Count(size) => vec![size.clone()],
            Self::Equal(..) | Self::Asked(_) => vec![Size::of(1)],
            Self::Data(data) => data.axes.iter().map(|axis| axis.size.clone()).collect(),
            Self::Scored(scored) => scored.axes.iter().map(|axis| axis.size().clone()).collect(),
            Self::Unread(what) => return Err(misfit(what.clone())),
        })
    }

    /// Returns the value with its sizes simplified by what is known.
    pub(super) fn resized(mut self, known: &Known) -> Self {
        fn of_axis(axis: &mut Axis, known: &Known) {
            renew(&mut axis.size, known);
            if let Role::Joined(axes) = &mut axis.role {
                axes.iter_mut().for_each(|axis| of_axis(axis, known));
            }
        }
        fn renew(size: &mut Size, known: &Known) {
            *size = size.clone().with(known);
        }
        match &mut self {
            Self::Numbers(numbers) => numbers.iter_mut().for_each(|size| renew(size, known)),
            Self::Filled(Filled { fill, shape }) => {
                shape.iter_mut().for_each(|size| renew(size, known));
                if let Fill::Whole(size) = fill {
                    renew(size, known);
                }
            }
            Self::Repeated(repeated) => repeated.shape.iter_mut().for_each(|size| renew(size, known)),
            Self::Input(feed) | Self::Tokens(Tokens { feed, .. }) => {
                feed.axes.iter_mut().for_each(|axis| renew(&mut axis.size, known));
            }
            Self::Delayed(delayed) => delayed.feed.axes.iter_mut().for_each(|axis| renew(&mut axis.size, known)),
            Self::Sorted(sorted) => renew(&mut sorted.rows, known),
            Self::Count(size) => renew(size, known),
            Self::Equal(a, b) => [a, b].into_iter().for_each(|size| renew(size, known)),
            Self::Data(data) => data.axes.iter_mut().for_each(|axis| of_axis(axis, known)),
            Self::Constant(_) | Self::Whole(_) | Self::Asked(_) | Self::Scored(_) | Self::Unread(_) => {}
        }
        self
    }

    /// Returns the length of axis `axis`. All code uses this one check, since not every value has every axis.
    pub(super) fn size(&self, axis: usize) -> Result<Size> {
        let sizes = self.sizes()?;
        sizes.get(axis).cloned().ok_or_else(|| misfit(format!("expected an axis below {}, got {axis}", sizes.len())))
    }

    /// Returns the index of axis `axis` among `rank` axes; a negative one counts from the end.
    pub(super) fn axis(axis: i64, rank: usize) -> Result<usize> {
        let from_start = if axis < 0 { axis.saturating_add(Size::len(rank).value().unwrap_or(0)) } else { axis };
        usize::try_from(from_start)
            .ok()
            .filter(|&axis| axis < rank)
            .ok_or_else(|| misfit(format!("expected an axis of {rank}, got {axis}")))
    }

    /// Permutes the axes: axis `i` of the result is axis `permutation[i]`.
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
            Self::Whole(constant) => Self::Whole(constant.changed(change())?),
            Self::Numbers(numbers) => Self::Numbers(change().apply(numbers)),
            Self::Filled(Filled { fill, shape }) => {
                Self::Filled(Filled { fill, shape: permutation.iter().map(|&i| shape[i].clone()).collect() })
            }
            Self::Input(feed) => {
                Self::Input(Feed { axes: permutation.iter().map(|&i| feed.axes[i].clone()).collect(), ..feed })
            }
            Self::Delayed(mut delayed) => {
                delayed.feed.axes = permutation.iter().map(|&i| delayed.feed.axes[i].clone()).collect();
                Self::Delayed(delayed)
            }
            Self::Data(data) => Self::Data(data.permuted(permutation)),
            Self::Scored(mut scored) => {
                scored.axes = permutation.iter().map(|&i| scored.axes[i].clone()).collect();
                Self::Scored(scored)
            }
            other => return Err(misfit(format!("moves axes of {}", other.kind()))),
        })
    }

    /// Inserts an axis of length 1 before axis `at`.
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
            Self::Delayed(mut delayed) => {
                delayed.feed.axes.insert(at, FeedAxis::one());
                Self::Delayed(delayed)
            }
            Self::Data(mut data) => {
                data.axes.insert(at, Axis::one());
                Self::Data(data)
            }
            Self::Scored(mut scored) => {
                scored.axes.insert(at, ScoreAxis::one());
                Self::Scored(scored)
            }
            other => return Err(misfit(format!("moves axes of {}", other.kind()))),
        })
    }

    /// Drops axis `axis`, whose length is 1.
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
                let gone = feed.axes.remove(axis);
                if let (Some(source), false) = (gone.source, gone.whole) {
                    feed.fixed.push((source, gone.start));
                }
                Self::Input(feed)
            }
            Self::Delayed(mut delayed) => {
                delayed.feed.axes.remove(axis);
                Self::Delayed(delayed)
            }
            Self::Data(data) => Self::Data(data.dropped(axis)),
            Self::Scored(mut scored) if scored.axes[axis].is_one() => {
                scored.axes.remove(axis);
                Self::Scored(scored)
            }
            other => return Err(misfit(format!("moves axes of {}", other.kind()))),
        })
    }

    /// Keeps only `cut` of axis `axis`.
    pub(super) fn cut(self, axis: usize, cut: Cut) -> Result<Self> {
        let size = self.size(axis)?;
        let range = match cut {
            Cut::All => return Ok(self),
            Cut::Range { start, step, len } => Some((start, step, len)),
            Cut::Last | Cut::Reversed | Cut::Stretch(_) => None,
        };
        let len = || cut.len(&size).ok_or_else(|| misfit(format!("a part of {size} whose length a call tells")));
        let change = |(start, step, len)| Change::Slice { axis, start, step, len };
        Ok(match (self, range) {
            (Self::Constant(constant), Some(range)) => Self::Constant(constant.changed(change(range))?),
            (Self::Numbers(numbers), Some(range)) => Self::Numbers(change(range).apply(numbers)),
            (Self::Filled(mut filled), _) => {
                filled.shape[axis] = len()?;
                Self::Filled(filled)
            }
            (Self::Repeated(Repeated { mut constant, mut shape }), range) => {
                shape[axis] = len()?;
                // All parts of a repeated axis are the same.
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
            (Self::Input(mut feed), _) if matches!(cut, Cut::Stretch(SliceSteps { start: 0.., step: 1, .. })) => {
                let (len, old) = (len()?, &mut feed.axes[axis]);
                if let (Cut::Stretch(slice), Some(_)) = (cut, old.source) {
                    let more = usize::try_from(slice.start).map_err(|e| misfit("a slice".into()).because(e))?;
                    *old = FeedAxis { start: old.start + more, size: len, whole: false, ..old.clone() };
                }
                Self::Input(feed)
            }
            (Self::Data(data), _) => Self::Data(data.cut(axis, cut)?),
            (other, _) => return Err(misfit(format!("a slice of {}", other.kind()))),
        })
    }

    /// Concatenates `values` along `axis`. The result has at most `limit` elements.
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
        Err(misfit(format!("joins {kinds}: expected shapes alone, weights alone, or what flows alone")))
    }
}

/// Returns `f` of each value, if it gives something for all of them and there is at least one.
fn every<'a, T>(values: &'a [Value], f: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<T>> {
    values.iter().map(f).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())
}

/// Turns a tensor of equal elements into a constant of a known shape.
pub(super) fn constant_of(filled: &Filled, limit: usize) -> Result<Constant> {
    let Fill::Real(x) = filled.fill else { return Err(misfit("whole numbers where real ones are expected".into())) };
    let shape =
        filled.shape.iter().map(|n| n.value().and_then(|n| usize::try_from(n).ok())).collect::<Option<Vec<_>>>();
    let shape =
        shape.ok_or_else(|| misfit("a tensor whose shape depends on the call, where weights are expected".into()))?;
    Constant::filled(x, shape, limit)
}
