//! Reshape: matches axes of the new shape to axes of the old one, although some lengths are only known in a call.
//!
//! Old and new lengths are compared side by side. Axes are joined or split until both products are equal.

use super::change::Change;
use super::constant::{MAX_RANK, is_possible};
use super::misfit;
use super::size::{Size, shape_text};
use super::value::{Axis, Data, Feed, FeedAxis, Filled, Role, Value};
use crate::error::Result;

/// Axes of the old and of the new shape that hold the same elements; all longer than 1.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    old: Vec<usize>,
    new: Vec<usize>,
}

impl Value {
    /// Gives the value the shape `wanted`, in which −1 is the remaining length.
    pub(super) fn reshaped(self, wanted: Vec<Size>) -> Result<Self> {
        let sizes = self.sizes()?;
        if wanted.len() > MAX_RANK {
            return Err(misfit(format!("expected at most {MAX_RANK} axes, got {}", shape_text(&wanted))));
        }
        let wanted = told(&sizes, wanted)?;
        match self {
            Self::Constant(constant) => Ok(Self::Constant(constant.changed(Change::Reshape(known(&sizes, &wanted)?))?)),
            Self::Whole(constant) => Ok(Self::Whole(constant.changed(Change::Reshape(known(&sizes, &wanted)?))?)),
            Self::Numbers(numbers) => Ok(Self::Numbers(Change::Reshape(known(&sizes, &wanted)?).apply(numbers))),
            Self::Filled(filled) => Ok(Self::Filled(Filled { shape: wanted, ..filled })),
            Self::Input(feed) => feed.reshaped(&sizes, &wanted).map(Self::Input),
            Self::Data(data) => data.reshaped(&wanted).map(Self::Data),
            other => Err(misfit(format!("a reshape of {}", other.kind()))),
        }
    }
}

/// Returns `a` and `b` without the lengths that both have, so that fewer factors depend on a call.
fn differing(a: &[Size], b: &[Size]) -> (Vec<Size>, Vec<Size>) {
    let (mut left, mut others) = (Vec::new(), b.to_vec());
    for size in a {
        match others.iter().position(|other| other == size) {
            Some(same) => drop(others.remove(same)),
            None => left.push(size.clone()),
        }
    }
    (left, others)
}

/// Returns `wanted` with a length instead of its −1.
pub(super) fn told(sizes: &[Size], mut wanted: Vec<Size>) -> Result<Vec<Size>> {
    let mismatch =
        |wanted: &[Size]| misfit(format!("expected the elements of {}, got {}", shape_text(wanted), shape_text(sizes)));
    let mut open = wanted.iter().enumerate().filter(|(_, n)| n.is(-1)).map(|(i, _)| i);
    match (open.next(), open.next()) {
        (None, _) => {}
        (Some(_), Some(_)) => return Err(misfit(format!("expected one -1, got {}", shape_text(&wanted)))),
        (Some(i), None) => {
            let others: Vec<Size> =
                wanted.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, n)| n.clone()).collect();
            let (all, rest) = differing(sizes, &others);
            let left = Size::product(&all).zip(Size::product(&rest)).and_then(|(all, rest)| all.exactly_over(&rest));
            wanted[i] = left.ok_or_else(|| mismatch(&wanted))?;
        }
    }
    let (old, new) = differing(sizes, &wanted);
    match (Size::product(&old), Size::product(&new)) {
        (Some(old), Some(new)) if old == new => Ok(wanted),
        _ => Err(mismatch(&wanted)),
    }
}

/// Returns `wanted` as numbers that are known.
fn known(sizes: &[Size], wanted: &[Size]) -> Result<Vec<usize>> {
    let dims = wanted.iter().map(|n| n.value().and_then(|n| usize::try_from(n).ok())).collect::<Option<Vec<_>>>();
    let fits = dims.filter(|dims| is_possible(dims));
    fits.ok_or_else(|| misfit(format!("a constant of {} in the shape {}", shape_text(sizes), shape_text(wanted))))
}

/// Returns the groups, first to last.
fn groups(old: &[Size], new: &[Size]) -> Result<Vec<Group>> {
    let unfit = || misfit(format!("a reshape of {} to {} that cuts across axes", shape_text(old), shape_text(new)));
    let long = |sizes: &[Size]| (0..sizes.len()).filter(|&i| !sizes[i].is(1)).collect::<Vec<_>>().into_iter();
    let (mut olds, mut news) = (long(old), long(new));
    let mut groups = Vec::new();
    while let Some(first) = olds.next() {
        let second = news.next().ok_or_else(unfit)?;
        let (mut a, mut b) = (old[first].clone(), new[second].clone());
        let mut group = Group { old: vec![first], new: vec![second] };
        while a != b {
            // The shorter side takes its next axis.
            let (sizes, rest, indices, product) = if b.exactly_over(&a).is_some() {
                (old, &mut olds, &mut group.old, &mut a)
            } else if a.exactly_over(&b).is_some() {
                (new, &mut news, &mut group.new, &mut b)
            } else {
                return Err(unfit());
            };
            let next = rest.next().ok_or_else(unfit)?;
            *product = product.times(&sizes[next]).ok_or_else(unfit)?;
            indices.push(next);
        }
        groups.push(group);
    }
    if news.next().is_some() { Err(unfit()) } else { Ok(groups) }
}

/// Returns which axes of length 1 between two groups stay: as many as there is room for, those with a meaning first.
fn kept(ones: &[usize], room: usize, means: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut kept: Vec<usize> = ones.iter().copied().filter(|&i| means(i)).take(room).collect();
    let others = ones.iter().copied().filter(|&i| !means(i)).take(room - kept.len());
    kept.extend(others.collect::<Vec<_>>());
    kept.sort_unstable();
    kept
}

/// Returns, in order, for each axis of length 1 in the new shape, the old axis that it is, if it is one.
fn ones(old: &[Size], new: &[Size], groups: &[Group], means: impl Fn(usize) -> bool) -> Vec<Option<usize>> {
    let mut places = Vec::new();
    for gap in 0..=groups.len() {
        let after = |side: fn(&Group) -> &Vec<usize>| match gap {
            0 => 0,
            _ => side(&groups[gap - 1]).last().map_or(0, |&last| last + 1),
        };
        let before = |side: fn(&Group) -> &Vec<usize>, len: usize| groups.get(gap).map_or(len, |g| side(g)[0]);
        let between = |side: fn(&Group) -> &Vec<usize>, len| after(side)..before(side, len);
        let room = between(|g| &g.new, new.len()).len();
        let olds: Vec<usize> = between(|g| &g.old, old.len()).collect();
        let kept = kept(&olds, room, &means);
        places.extend(kept.iter().copied().map(Some));
        places.extend(std::iter::repeat_n(None, room - kept.len()));
    }
    places
}

impl Feed {
    /// Whether the shape `wanted` keeps its axes, except those of length 1.
    pub(super) fn keeps_axes(&self, wanted: &[Size]) -> bool {
        let old: Vec<Size> = self.axes.iter().map(|axis| axis.size.clone()).collect();
        let groups = told(&old, wanted.to_vec()).and_then(|new| groups(&old, &new));
        groups.is_ok_and(|groups| groups.iter().all(|group| (group.old.len(), group.new.len()) == (1, 1)))
    }

    /// Adds and drops axes of length 1; the others must stay as they are.
    fn reshaped(self, old: &[Size], new: &[Size]) -> Result<Self> {
        let groups = groups(old, new)?;
        if groups.iter().any(|group| group.old.len() != 1 || group.new.len() != 1) {
            return Err(misfit("axes of an input joined or split before a layer takes it".into()));
        }
        let places = ones(old, new, &groups, |i| self.axes[i].source.is_some());
        let is_gone = |i: usize, axis: &FeedAxis| axis.size.is(1) && !axis.whole && !places.contains(&Some(i));
        let gone = self.axes.iter().enumerate().filter(|&(i, axis)| is_gone(i, axis));
        let fixed = gone.filter_map(|(_, axis)| Some((axis.source?, axis.start)));
        let fixed = self.fixed.iter().copied().chain(fixed).collect();
        let (mut places, mut groups) = (places.into_iter(), groups.iter());
        let axes = new.iter().map(|size| match size.is(1) {
            true => places.next().flatten().map_or_else(FeedAxis::one, |i| self.axes[i].clone()),
            false => self.axes[groups.next().expect("a group for each axis").old[0]].clone(),
        });
        Ok(Self { axes: axes.collect(), fixed, ..self })
    }
}

impl Data {
    fn reshaped(mut self, new: &[Size]) -> Result<Self> {
        self.flatten_joined();
        let old: Vec<Size> = self.axes.iter().map(|axis| axis.size.clone()).collect();
        let groups = groups(&old, new)?;
        let places = ones(&old, new, &groups, |i| self.axes[i].role != Role::One);
        // From the end, so that earlier indices stay valid.
        let (mut places, mut groups) = (places.into_iter().rev().peekable(), groups.iter().rev().peekable());
        let mut axis = old.len();
        let mut at = new.len();
        while at > 0 {
            if new[at - 1].is(1) && groups.peek().is_none_or(|group| group.new.last() != Some(&(at - 1))) {
                let place = places.next().expect("a place for each axis of length 1");
                match place {
                    Some(i) => {
                        self.drop_between(i + 1, axis);
                        axis = i;
                    }
                    None => self.axes.insert(axis, Axis::one()),
                }
                at -= 1;
            } else {
                let group = groups.next().expect("a group for each longer axis");
                let (first, last) = (group.old[0], group.old[group.old.len() - 1]);
                self.drop_between(last + 1, axis);
                self = self.grouped(group, new)?;
                axis = first;
                at = group.new[0];
            }
        }
        self.drop_between(0, axis);
        Ok(self)
    }

    /// Drops the axes `from..to`, which are of length 1.
    fn drop_between(&mut self, from: usize, to: usize) {
        for axis in (from..to).rev() {
            let data = std::mem::replace(
                self,
                Self { content: ndarray::ArrayD::default(ndarray::IxDyn(&[0])), axes: Vec::new() },
            );
            *self = data.dropped(axis);
        }
    }

    /// Turns the axes of `group` into those of the new shape.
    fn grouped(mut self, group: &Group, new: &[Size]) -> Result<Self> {
        let (first, last) = (group.old[0], group.old[group.old.len() - 1]);
        let inner_ones: Vec<usize> = (first..last).filter(|i| !group.old.contains(i)).collect();
        for axis in inner_ones.into_iter().rev() {
            self = self.dropped(axis);
        }
        let (begin, end, text) = (group.new[0], group.new[group.new.len() - 1], self.axes_text());
        let sizes = &new[begin..=end];
        match (group.old.len(), group.new.len()) {
            (1, 1) => Ok(self),
            (count, 1) => self.joined(first, count),
            (1, _) => {
                let sizes = sizes.iter().map(|n| n.value().and_then(|n| usize::try_from(n).ok()));
                let sizes = sizes.collect::<Option<Vec<_>>>().filter(|sizes| !sizes.is_empty());
                self.split(first, &sizes.ok_or_else(|| misfit("splits an axis in unknown lengths".into()))?)
            }
            (count, 2) if self.axes[first + count - 1].role == Role::Features && begin + 1 == end => {
                self.in_heads(first, count, &sizes[1]).ok_or_else(|| cuts_across(&text, new))?
            }
            _ => Err(cuts_across(&self.axes_text(), new)),
        }
    }

    /// Cuts the features into parts of `size`, and joins these with the axes before them: with `count` axes from
    /// `first` on in all, `[B, H · size]` becomes `[B · H, size]`. Returns `None` if the parts are not whole.
    fn in_heads(self, first: usize, count: usize, size: &Size) -> Option<Result<Self>> {
        let number = |size: &Size| size.value().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
        let (all, size) = (number(&self.axes[first + count - 1].size)?, number(size)?);
        let heads = all.checked_div(size).filter(|heads| heads * size == all)?;
        Some(self.split(first + count - 1, &[heads, size]).and_then(|data| data.joined(first, count)))
    }

    /// Splits joined axes, so that they can be joined in another way.
    fn flatten_joined(&mut self) {
        while let Some(axis) = self.axes.iter().position(|axis| matches!(axis.role, Role::Joined(_))) {
            let Role::Joined(axes) = self.axes[axis].role.clone() else { unreachable!("just found") };
            self.axes.splice(axis..=axis, axes);
        }
    }
}

/// The error of a reshape of axes to `new` that no join and no split makes.
fn cuts_across(old: &str, new: &[Size]) -> crate::error::Error {
    misfit(format!("a reshape of {old} to {} that cuts across axes", shape_text(new)))
}
