//! Some of a tensor's steps and features: `x[:, -1]`, `x[:, a:b:n]`, `x[..., a:b]`, `split`, `Cropping1D`.
//!
//! Knows how Keras writes an index; knows no other operation.

use serde_json::Value;

use super::builder::Builder;
use super::config::{Config, short, wrong};
use super::masks::{Mask, SliceOf, in_stretch};
use super::values::{Flow, Known, Source};
use crate::error::Result;
use crate::model::{Select, SliceSteps};

impl Builder {
    /// Reads `x[:, -1]`, `x[:, a:b:n]`, `x[…, a:b]`, and a row as one step, `x[:, None]`.
    pub(super) fn item(&mut self, tensor: &Known, index: &Value) -> Result<Known> {
        let tensor = self.settled(tensor)?;
        let unread = || {
            let text = format!(
                "expected steps of a sequence (x[:, a:b:n], x[:, -1]) or some features (x[..., a:b]), one next to the \
                 other, got {}",
                short(index)
            );
            wrong(format!("{text} of {}", tensor.shape()))
        };
        let features = tensor.features().filter(|_| !matches!(tensor.flow, Flow::Steps { bare: true, .. }));
        let features = features.ok_or_else(unread)?;
        let rank = if matches!(tensor.flow, Flow::Rows(_)) { 2 } else { 3 };
        let axes = axes(index, rank).ok_or_else(unread)?;
        let of_time = match (&axes[..], rank) {
            ([Axis::Stretch(WHOLE), time, Axis::Stretch(_)], 3) => self.steps_of(&tensor, time).ok_or_else(unread)?,
            ([Axis::Stretch(WHOLE), Axis::New, Axis::Stretch(_)], 2) => self.one_step(&tensor),
            ([Axis::Stretch(WHOLE), Axis::Stretch(_)], 2) => Ok(tensor.clone()),
            _ => return Err(unread()),
        }?;
        match axes.last() {
            Some(&Axis::Stretch(bounds)) if bounds != WHOLE => {
                let (first, end) = span(bounds, features).ok_or_else(unread)?;
                self.features(&of_time, first, end - first)
            }
            _ => self.unmasked(|_| Ok(of_time)),
        }
    }

    /// Returns the steps of `tensor` that `axis` leaves; `None` if that is not supported.
    fn steps_of(&mut self, tensor: &Known, axis: &Axis) -> Option<Result<Known>> {
        let of_row = matches!(tensor.flow, Flow::OneStep(_));
        let features = tensor.features()?;
        Some(match *axis {
            Axis::Stretch(WHOLE) => Ok(tensor.clone()),
            Axis::Stretch(bounds) if of_row => match range(bounds, 1) {
                (0, 1) => Ok(tensor.clone()),
                _ => return None,
            },
            Axis::At(0 | -1) if of_row => Ok(Known::rows(tensor.source, features, &self.place)),
            Axis::At(_) if of_row => return None,
            Axis::Stretch(bounds) => self.stretch(tensor, bounds),
            Axis::At(-1) => self.last_step(tensor.clone(), features),
            Axis::At(at) => {
                let bounds = (at, Some(at.checked_add(1)?), 1);
                self.stretch(tensor, bounds).and_then(|step| self.last_step(step, features))
            }
            Axis::New => return None,
        })
    }

    /// Returns steps `bounds` of `tensor`, without its mask.
    pub(super) fn stretch(&mut self, tensor: &Known, bounds: SliceOf) -> Result<Known> {
        self.names_time();
        let Flow::Steps { time, features: features @ Some(_), bare: false } = tensor.flow else {
            return Err(wrong(format!("expected a sequence of features, got {} of {}", tensor.shape(), tensor.from)));
        };
        let slice = SliceSteps { start: bounds.0, end: bounds.1, step: bounds.2, ..SliceSteps::default() };
        let time = time.map(|time| range(bounds, time).1);
        if time == Some(0) {
            return Err(wrong(format!(
                "expected a step to be left of {} of {}, got none",
                tensor.shape(),
                tensor.from
            )));
        }
        let held = in_stretch(bounds, &tensor.held)?;
        let from = vec![self.edge(tensor)?];
        let source = Source::Whole(self.add("", slice, from, [None; 2]));
        let flow = Flow::Steps { time, features, bare: false };
        Ok(Known { flow, source, held, unlike: tensor.unlike.clone(), ..Known::steps(Mask::None, &self.place) })
    }

    fn last_step(&mut self, tensor: Known, features: usize) -> Result<Known> {
        self.names_time();
        self.now = tensor;
        self.push("", Select::LastStep)?;
        Ok(Known::rows(self.now.source, features, &self.place))
    }

    /// Returns a row as a sequence of one step.
    pub(super) fn one_step(&mut self, tensor: &Known) -> Result<Known> {
        self.names_time();
        let tensor = self.settled(tensor)?;
        match tensor.flow {
            Flow::Rows(features) if !self.within_steps => {
                Ok(Known { flow: Flow::OneStep(features), mask: Mask::None, from: self.place.clone(), ..tensor })
            }
            _ => Err(wrong(format!(
                "expected features without a time axis, which become one step, got {} of {}",
                tensor.shape(),
                tensor.from
            ))),
        }
    }

    /// Records that the axis after the batch is time.
    pub(super) fn names_time(&mut self) {
        let place = self.place.to_string();
        self.renamed.get_or_insert(place);
    }

    /// Reads `Cropping1D`, which passes no mask on.
    pub(super) fn cropping(&mut self, config: &mut Config) -> Result<()> {
        let value = config.take("cropping").unwrap_or_else(|| serde_json::json!([1, 1]));
        let number = |value: &Value| value.as_u64().and_then(|n| i64::try_from(n).ok());
        let ends = match &value {
            Value::Array(ends) if ends.len() == 2 => number(&ends[0]).zip(number(&ends[1])),
            both => number(both).map(|n| (n, n)),
        };
        let Some((start, end)) = ends else {
            return Err(wrong(format!("cropping: expected two whole numbers, got {}", short(&value))));
        };
        let tensor = self.settled(&self.now)?;
        let bounds = (start, (end > 0).then_some(-end), 1);
        self.now = if bounds == WHOLE { self.unmasked(|_| Ok(tensor))? } else { self.stretch(&tensor, bounds)? };
        Ok(())
    }

    /// Returns features `first .. first + count` of `tensor`.
    fn features(&mut self, tensor: &Known, first: usize, count: usize) -> Result<Known> {
        let all = tensor.features().unwrap_or_default();
        let source = match tensor.source {
            Source::Part { of, first: before, all, .. } => Source::part(of, before + first, count, all),
            Source::Whole(_) if tensor.is_input().is_some() => Source::part(self.edge(tensor)?, first, count, all),
            Source::Whole(of) => Source::part(of, first, count, all),
        };
        let flow = match tensor.flow {
            Flow::Steps { time, .. } => Flow::Steps { time, features: Some(count), bare: false },
            Flow::OneStep(_) => Flow::OneStep(count),
            _ => Flow::Rows(count),
        };
        self.unmasked(|builder| Ok(Known { flow, source, from: builder.place.clone(), ..tensor.clone() }))
    }

    /// Splits the features into parts.
    pub(super) fn split(&mut self, places: &Value, tensor: &Known) -> Result<Vec<Known>> {
        let tensor = self.settled(tensor)?;
        let all = tensor.features();
        let ends = ends(places, all).ok_or_else(|| unfit(places, "features", &tensor))?;
        let (mut first, mut gives) = (0, Vec::new());
        for end in ends.into_iter().map(|end| end.or(all).unwrap_or(0)) {
            if end <= first || all.is_none_or(|all| end > all) {
                return Err(unfit(places, "features", &tensor));
            }
            gives.push(self.features(&tensor, first, end - first)?);
            first = end;
        }
        Ok(gives)
    }

    /// Splits the steps into parts.
    pub(super) fn split_steps(&mut self, places: &Value, tensor: &Known) -> Result<Vec<Known>> {
        let tensor = self.settled(tensor)?;
        let Flow::Steps { time, .. } = tensor.flow else { return Err(unfit(places, "steps", &tensor)) };
        let ends = ends(places, time).ok_or_else(|| unfit(places, "steps", &tensor))?;
        let (mut first, mut gives) = (0, Vec::new());
        for end in ends {
            if end.is_some_and(|end| end <= first) || time.zip(end).is_some_and(|(time, end)| end > time) {
                return Err(unfit(places, "steps", &tensor));
            }
            let place = |n| i64::try_from(n).unwrap_or(i64::MAX);
            gives.push(self.stretch(&tensor, (place(first), end.map(place), 1))?);
            first = end.unwrap_or(first);
        }
        Ok(gives)
    }
}

/// Returns the end of each part in a split of `all`. `None` is the end of all.
fn ends(places: &Value, all: Option<usize>) -> Option<Vec<Option<usize>>> {
    let whole = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    match places {
        Value::Array(places) => places.iter().map(|place| whole(place).map(Some)).chain([Some(None)]).collect(),
        parts => {
            let (parts, all) = (whole(parts)?, all?);
            let fits = parts > 0 && parts <= all && all % parts == 0;
            fits.then(|| (1..=parts).map(|part| (part < parts).then(|| part * (all / parts))).collect())
        }
    }
}

fn unfit(places: &Value, among: &str, tensor: &Known) -> crate::error::Error {
    let (shape, places) = (tensor.shape(), short(places));
    wrong(format!("indices_or_sections: expected places among the {among} of {shape}, got {places}"))
}

/// What an index selects from an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    /// The elements within bounds.
    Stretch(SliceOf),
    /// One element; the axis is dropped.
    At(i64),
    /// A new axis.
    New,
}

/// All of an axis.
const WHOLE: SliceOf = (0, None, 1);

/// Returns the index of each of `rank` axes; an ellipsis covers the
/// remaining ones. Returns `None` if the index is not supported.
fn axes(index: &Value, rank: usize) -> Option<Vec<Axis>> {
    let list = index.as_array().map_or(std::slice::from_ref(index), |list| &list[..]);
    let is_ellipsis = |axis: &Value| axis.get("class_name").is_some_and(|class| *class == "__ellipsis__");
    let told = list.iter().filter(|axis| !axis.is_null() && !is_ellipsis(axis)).count();
    let mut left = rank.checked_sub(told)?;
    let mut axes = Vec::new();
    for axis in list {
        match axis {
            Value::Null => axes.push(Axis::New),
            axis if is_ellipsis(axis) => {
                axes.extend(std::iter::repeat_n(Axis::Stretch(WHOLE), left));
                left = 0;
            }
            axis => axes.push(match axis.as_i64() {
                Some(at) => Axis::At(at),
                None => Axis::Stretch(bounds(axis)?),
            }),
        }
    }
    axes.extend(std::iter::repeat_n(Axis::Stretch(WHOLE), left));
    Some(axes)
}

/// Returns the bounds of a slice. Keras 3 writes an object around it.
fn bounds(axis: &Value) -> Option<SliceOf> {
    let keys = axis.get("config").unwrap_or(axis).as_object()?;
    let number = |key| match keys.get(key) {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_i64().map(Some),
    };
    let (start, end) = (number("start")?, number("stop")?);
    let step = usize::try_from(number("step")?.unwrap_or(1)).ok().filter(|&step| step > 0)?;
    Some((start.unwrap_or(0), end, step))
}

/// Returns the start and end of `bounds` in `features`, unless they are empty or leave some out in between.
fn span(bounds: SliceOf, features: usize) -> Option<(usize, usize)> {
    let (first, count) = range(bounds, features);
    (count > 0 && bounds.2 == 1).then_some((first, first + count))
}

/// Returns the first of `all` within `bounds`, and how many there are.
fn range((start, end, step): SliceOf, all: usize) -> (usize, usize) {
    SliceSteps { start, end, step, ..SliceSteps::default() }.range(all)
}

/// Returns some of the steps of a mask.
pub(super) fn item_of_mask(mask: &Known, index: &Value) -> Result<Mask> {
    match axes(index, 2).as_deref() {
        Some(&[Axis::Stretch(WHOLE), Axis::Stretch(bounds)]) => mask.mask.in_stretch(bounds),
        _ => Ok(Mask::Other),
    }
}
