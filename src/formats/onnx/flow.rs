//! Inputs as data that flows through the layers: which of their axes are features, time and batch.
//!
//! The part of `Graph` for values of several inputs that are combined. Knows no operator.

use std::ops::Range;

use super::cut::Cut;
use super::graph::{Graph, GraphInput};
use super::misfit;
use super::packed;
use super::size::{Size, shape_text};
use super::value::{At, Axis, Data, Feed, FeedAxis, Role, Segment, Value};
use crate::error::Result;
use crate::model::{Dim, SliceSteps};

/// An input's axis of layers, which holds one state after the other.
pub(super) struct Layers {
    /// The length of the axis.
    pub(super) all: usize,
    /// The part of it that is used.
    pub(super) part: Option<Range<usize>>,
}

impl Graph {
    /// Turns `value` into data that flows through the layers. The last axis of an input is its features.
    ///
    /// `features` is their required number, if the operator knows it.
    pub(super) fn data(&mut self, value: Value, features: Option<usize>) -> Result<Data> {
        match value {
            Value::Data(data) => Ok(data),
            Value::Input(feed) => self.part_of_steps(&feed, features),
            Value::Delayed(delayed) => self.undelayed(*delayed, features),
            other => Err(misfit(format!("expected a sequence, got {}", other.kind()))),
        }
    }

    /// Whether `value` flows, or is an input that can.
    pub(super) fn flows(&self, value: &Value) -> bool {
        match value {
            Value::Data(_) | Value::Delayed(_) => true,
            Value::Input(feed) => super::constant::is_real(self.inputs[feed.input].data_type),
            _ => false,
        }
    }

    /// Turns an input into data if only some of its steps are used.
    fn part_of_steps(&mut self, feed: &Feed, features: Option<usize>) -> Result<Data> {
        let before = feed.axes.len().saturating_sub(1);
        // A layer takes a sequence. Elsewhere, a part may be layers of states: one or two for a node.
        let least = if features.is_some() { 2 } else { 3 };
        let is_time = |axis: &FeedAxis, source| match self.roles.dim(self.inputs[feed.input].first_axis + source) {
            Some(dim) => dim == Dim::Time,
            None => axis.size.value().is_none_or(|steps| before == 2 && steps >= least),
        };
        let mut parts = feed.axes[..before].iter().enumerate().filter(|(_, axis)| !axis.whole);
        let part =
            parts.find(|(_, axis)| axis.source.is_some_and(|source| is_time(axis, source))).map(|(place, _)| place);
        match part {
            Some(place) => {
                let (whole, slice, len) = self.all_steps(feed, place)?;
                let data = self.features(&whole, features)?;
                self.stretch(data, place, slice, Some(len))
            }
            None => self.features(feed, features),
        }
    }

    /// Returns `feed` with all steps along axis `axis`, the slice that leaves the steps of `feed`, and their number.
    pub(super) fn all_steps(&self, feed: &Feed, axis: usize) -> Result<(Feed, SliceSteps, Size)> {
        let FeedAxis { source, size, start, .. } = &feed.axes[axis];
        let GraphInput { name, sizes, .. } = &self.inputs[feed.input];
        let unread = || misfit(format!("a part of the input {name:?}, of a length that is not told"));
        let all = source.map(|source| sizes[source].clone().with(&self.known)).ok_or_else(unread)?;
        let first = Size::len(*start);
        let end = match all.minus(&first).and_then(|left| left.minus(size)?.value()) {
            Some(0) => None,
            behind => Some(match (first.plus(size).and_then(|end| end.value()), behind) {
                (Some(end), _) => end,
                (None, Some(behind @ 1..)) => -behind,
                _ => return Err(unread()),
            }),
        };
        let slice = SliceSteps { start: first.value().ok_or_else(unread)?, end, ..SliceSteps::default() };
        let mut whole = feed.clone();
        whole.axes[axis] = FeedAxis { size: all, start: 0, whole: true, ..whole.axes[axis].clone() };
        Ok((whole, slice, size.clone()))
    }

    /// Slices the steps of `data` along axis `axis`. `len` is their number, if it is known before a call.
    pub(super) fn stretch(
        &mut self,
        mut data: Data,
        axis: usize,
        slice: SliceSteps,
        len: Option<Size>,
    ) -> Result<Data> {
        data.axes[axis] = self.settle(&data.axes[axis], Dim::Time)?;
        for segment in data.content.iter_mut().flatten() {
            // A row that is combined with every step is combined with the remaining ones too.
            if self.links.link(segment.link).time.is_some() && segment.at == At::All {
                segment.link = self.links.stretch(segment.link, slice)?;
            }
        }
        let len = len.unwrap_or_else(|| self.unknown());
        if len.is(1) {
            data = data.at(|at| if at == At::All { At::Last } else { at });
            data.axes[axis] = Axis::one();
        } else {
            data.axes[axis].size = len;
        }
        Ok(data)
    }

    fn features(&mut self, feed: &Feed, wanted: Option<usize>) -> Result<Data> {
        if feed.fixed.len() > 1 {
            return packed::element(self, feed, wanted);
        }
        let name = &self.inputs[feed.input].name;
        if !super::constant::is_real(self.inputs[feed.input].data_type) {
            return Err(misfit(format!("the input {name:?}: expected real numbers, or tokens that Gather looks up")));
        }
        let last = feed.axes.len().saturating_sub(1);
        let axis = feed.axes.last().filter(|axis| axis.source.is_some() || last > 0);
        let axis = axis.ok_or_else(|| misfit(format!("the input {name:?} without an axis of features")))?;
        let number = |size: &Size| size.value().and_then(|n| usize::try_from(n).ok());
        let told = number(&axis.size);
        let len = wanted.or(told);
        let len = len.ok_or_else(|| misfit(format!("the input {name:?} of an unknown number of features")))?;
        if told.is_some_and(|told| told != len) {
            return Err(misfit(format!("expected an input of {len} features, got {}", axis.size)));
        }
        let all = match axis.source {
            Some(source) if !axis.whole => number(&self.inputs[feed.input].sizes[source]),
            _ => Some(len),
        };
        let all =
            all.ok_or_else(|| misfit(format!("a part of the input {name:?} of an unknown number of features")))?;
        let (start, source) = (axis.start, axis.source);
        let (mut axes, layers) = self.claim(feed)?;
        axes[last] = Axis::new(Role::Features, Size::len(len));
        if let Some(source) = source
            && self.roles.tell(self.inputs[feed.input].first_axis + source, Dim::Features)? != Dim::Features
        {
            return Err(misfit(format!("axis {source} of the input as its features, which it was not before")));
        }
        let link = self.source(feed.input, all.saturating_mul(layers.all));
        let features = self.links.link(link).features;
        if features != all.saturating_mul(layers.all) {
            return Err(misfit(format!("expected an input of {features} features, got {all} of {}", layers.all)));
        }
        let cell = |layer: usize| vec![Segment { link, at: At::All, start: layer * all + start, len }];
        let content = match layers.part.clone() {
            Some(part) if part.len() != 1 => part.map(cell).collect::<ndarray::Array1<_>>().into_dyn(),
            part => ndarray::arr0(cell(part.map_or(0, |part| part.start))).into_dyn(),
        };
        Ok(Data { content, axes })
    }

    /// Returns the link of input `input`.
    pub(super) fn source(&mut self, input: usize, features: usize) -> usize {
        let links = &mut self.links;
        *self.inputs[input].link.get_or_insert_with(|| links.source(input, features))
    }

    /// Keeps only `cut` of axis `axis` of `value`.
    pub(super) fn cut(&mut self, mut value: Value, axis: usize, cut: Cut) -> Result<Value> {
        let size = value.size(axis)?;
        // True for the steps of an input whose number depends on a call, and for features that are not contiguous.
        let as_data = match cut {
            Cut::All => false,
            _ if matches!(value, Value::Data(_)) => true,
            Cut::Last | Cut::Reversed | Cut::Stretch(_) => true,
            Cut::Range { step, .. } => step != 1 || size.value().is_none() || self.is_time(&value, axis),
        };
        if as_data && self.flows(&value) {
            let mut data = self.data(value, None)?;
            if matches!(data.axes[axis].role, Role::Open(_)) {
                data.axes[axis] = self.settle(&data.axes[axis], Dim::Time)?;
            }
            if data.axes[axis].role == Role::Time && cut.is_reversed(&size) {
                return self.links.reversed(data, None).map(Value::Data);
            }
            if let (Role::Time, Some(slice)) = (&data.axes[axis].role, cut.stretch(&size)) {
                return self.stretch(data, axis, slice, cut.len(&size)).map(Value::Data);
            }
            value = Value::Data(data);
        }
        value.cut(axis, cut)
    }

    /// Whether axis `axis` of `value` is known to be time.
    pub(super) fn is_time(&self, value: &Value, axis: usize) -> bool {
        match value {
            Value::Data(data) => data.axes.get(axis).is_some_and(|axis| self.told(axis).role == Role::Time),
            Value::Input(feed) => {
                let source = feed.axes.get(axis).and_then(|axis| axis.source);
                let first = self.inputs[feed.input].first_axis;
                source.is_some_and(|source| match self.roles.dim(first + source) {
                    Some(dim) => dim == Dim::Time,
                    None => source < 2 && self.begins_at_steps(feed),
                })
            }
            _ => false,
        }
    }

    /// Records that axis `axis` of `value` is time, if it is a part of an input's axis.
    pub(super) fn tell_time(&mut self, value: &Value, axis: usize) -> Result<()> {
        if let Value::Input(feed) = value
            && let Some(FeedAxis { source: Some(source), whole: false, .. }) = feed.axes.get(axis)
        {
            self.roles.tell(self.inputs[feed.input].first_axis + source, Dim::Time)?;
        }
        Ok(())
    }

    /// Returns the axes of `feed`. Only its last axis, and one of layers, may be a part of the input's axis.
    pub(super) fn claim(&mut self, feed: &Feed) -> Result<(Vec<Axis>, Layers)> {
        let GraphInput { name, first_axis, sizes, .. } = &self.inputs[feed.input];
        let (mut axes, mut layers) = (Vec::with_capacity(feed.axes.len()), Layers { all: 1, part: None });
        for (place, axis) in feed.axes.iter().enumerate() {
            let FeedAxis { source, size, start, whole, sorted } = axis;
            let Some(source) = source else {
                axes.push(Axis::one());
                continue;
            };
            let told = self.roles.dim(first_axis + source) == Some(Dim::Layers);
            let number = |size: &Size| size.value().and_then(|n| usize::try_from(n).ok());
            if place + 1 < feed.axes.len() && (told || !whole) {
                let (Some(all), Some(len), None) = (number(&sizes[*source]), number(size), &layers.part) else {
                    return Err(misfit(format!("a part of the input {name:?} along an axis that is not its features")));
                };
                if self.roles.tell(first_axis + source, Dim::Layers)? != Dim::Layers {
                    return Err(misfit(format!("a part of the steps or rows of the input {name:?}")));
                }
                layers = Layers { all, part: Some(*start..start + len) };
                axes.push(if len == 1 { Axis::one() } else { Axis::new(Role::Parts, size.clone()) });
            } else {
                axes.push(Axis { role: Role::Open(first_axis + source), size: size.clone(), sorted: *sorted });
            }
        }
        for &(source, at) in &feed.fixed {
            let all = sizes[source].value().and_then(|n| usize::try_from(n).ok());
            let (Some(all), None) = (all, &layers.part) else {
                return Err(misfit(format!("a part of the input {name:?} along several axes")));
            };
            if self.roles.tell(first_axis + source, Dim::Layers)? != Dim::Layers {
                return Err(misfit(format!("one of the steps or rows of the input {name:?}")));
            }
            layers = Layers { all, part: Some(at..at + 1) };
        }
        Ok((axes, layers))
    }

    /// Records that `axis` is time or batch.
    pub(super) fn settle(&mut self, axis: &Axis, dim: Dim) -> Result<Axis> {
        let role = if dim == Dim::Time { Role::Time } else { Role::Batch };
        let got = match &axis.role {
            Role::Open(place) => self.roles.tell(*place, dim)?,
            Role::Time => Dim::Time,
            Role::Batch => Dim::Batch,
            Role::One => dim,
            Role::Stretched => {
                return Err(misfit(format!(
                    "a row that stands {} times: no layer here repeats it, but where it meets a sequence",
                    axis.size
                )));
            }
            _ => return Err(misfit(format!("expected an axis of {dim:?}, got another"))),
        };
        if got != dim {
            return Err(misfit(format!("expected {dim:?} in an axis that is {got:?}: are time and batch swapped?")));
        }
        if dim == Dim::Time && axis.sorted.is_some() {
            return Err(misfit("steps in the order of lengths, which are those of the batch's rows".into()));
        }
        Ok(Axis { role, ..axis.clone() })
    }

    /// Returns `axis` with its role, which may have become known since.
    pub(super) fn told(&self, axis: &Axis) -> Axis {
        let role = match axis.role {
            Role::Open(place) => match self.roles.dim(place) {
                Some(Dim::Time) => Role::Time,
                Some(Dim::Batch) => Role::Batch,
                _ => axis.role.clone(),
            },
            _ => axis.role.clone(),
        };
        Axis { role, ..axis.clone() }
    }

    /// Returns the axis that `a` and `b` become when they are combined.
    pub(super) fn meet(&mut self, a: &Axis, b: &Axis) -> Result<Axis> {
        let (a, b) = (&self.told(a), &self.told(b));
        let unfit = || {
            let axes = [a, b].map(Data::axis_text);
            Err(misfit(format!("values that do not fit: {} meets {}", axes[0], axes[1])))
        };
        for (one, other) in [(a, b), (b, a)] {
            if one.role == Role::One && matches!(other.role, Role::One | Role::Stretched) {
                return Ok(other.clone());
            }
            let stretched = matches!(one.role, Role::One | Role::Stretched);
            if one.role == Role::One
                && other.size.is(1)
                && matches!(other.role, Role::Time | Role::Batch | Role::Open(_))
            {
                return Ok(other.clone());
            }
            if stretched && matches!(other.role, Role::Time | Role::Open(_)) {
                if one.role == Role::Stretched && self.known.equal(&one.size, &other.size).is_none() {
                    return unfit();
                }
                return self.settle(other, Dim::Time);
            }
        }
        if a.sorted != b.sorted {
            return Err(misfit("rows in the order of their lengths, and rows as they come in".into()));
        }
        let Some(size) = self.known.equal(&a.size, &b.size) else { return unfit() };
        let role = match (&a.role, &b.role) {
            (Role::Open(x), Role::Open(y)) => {
                self.roles.unite(*x, *y)?;
                a.role.clone()
            }
            (Role::Open(_), Role::Time) | (Role::Time, Role::Open(_)) => {
                self.settle(if a.role == Role::Time { b } else { a }, Dim::Time)?.role
            }
            (Role::Open(_), Role::Batch) | (Role::Batch, Role::Open(_)) => {
                self.settle(if a.role == Role::Batch { b } else { a }, Dim::Batch)?.role
            }
            (Role::Joined(x), Role::Joined(y)) if x.len() == y.len() => {
                let pairs: Vec<_> = x.iter().cloned().zip(y.iter().cloned()).collect();
                Role::Joined(pairs.iter().map(|(x, y)| self.meet(x, y)).collect::<Result<_>>()?)
            }
            (x, y) if x == y => x.clone(),
            _ => return unfit(),
        };
        Ok(Axis { role, size, sorted: a.sorted })
    }

    /// Gives `all` the same axes, except axis `except`. A value
    /// without steps is combined with every step of the others.
    pub(super) fn align(&mut self, all: &mut [Data], except: Option<usize>) -> Result<()> {
        let rank = all.first().map_or(0, |data| data.axes.len());
        if let Some(other) = all.iter().find(|data| data.axes.len() != rank) {
            let sizes = [&all[0], other].map(|data| shape_text(data.axes.iter().map(|axis| &axis.size)));
            return Err(misfit(format!("expected tensors of as many axes, got {} and {}", sizes[0], sizes[1])));
        }
        for place in (0..rank).filter(|place| Some(*place) != except) {
            let mut met = self.told(&all[0].axes[place]);
            for data in &all[1..] {
                met = self.meet(&met, &data.axes[place])?;
            }
            for data in all.iter_mut() {
                let was = std::mem::replace(&mut data.axes[place], met.clone());
                if met.role == Role::Time && matches!(was.role, Role::One | Role::Stretched) {
                    self.without_steps(data)?;
                }
            }
        }
        Ok(())
    }

    /// Records that `data` has no time axis, although its links may have the one step of a call.
    fn without_steps(&mut self, data: &mut Data) -> Result<()> {
        for segment in data.content.iter_mut().flatten().filter(|segment| segment.at == At::All) {
            segment.link = self.links.row(segment.link)?;
        }
        Ok(())
    }

    /// Returns the role of each axis of input `input`, as far as it is
    /// known. An axis of length 1 without any other role is [`Dim::One`].
    pub(super) fn dims(&self, input: usize) -> Vec<Option<Dim>> {
        let GraphInput { sizes, first_axis, .. } = &self.inputs[input];
        let dim = |(axis, size): (usize, &Size)| {
            let one = size.clone().with(&self.known).is(1);
            // Nodes require this length to be 1, although the file leaves it open.
            match self.roles.dim(first_axis + axis) {
                Some(_) if one && !size.is(1) => Some(Dim::One),
                None if one => Some(Dim::One),
                told => told,
            }
        };
        sizes.iter().enumerate().map(dim).collect()
    }

    /// Whether input `input` has steps.
    pub(super) fn has_time(&self, input: usize) -> bool {
        let GraphInput { sizes, first_axis, .. } = &self.inputs[input];
        (0..sizes.len()).any(|axis| self.roles.dim(first_axis + axis) == Some(Dim::Time))
    }
}
