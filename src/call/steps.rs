//! The steps of a call: how many each time axis has, and which of them are live, by the caller and by the model.
//!
//! Views of what the user wrote. A call of one sequence allocates no memory for them.
//! Knows clocks and inputs; knows no state.

use std::ops::Range;

use ndarray::{ArrayView, ArrayView2, IxDyn, s};

use super::form::{Batching, Form};
use super::inputs::Values;
use super::{Call, Input, shape};
use crate::error::{Error, Result};
use crate::model::{Axes, Clocks, Embedding, Flow, LayerKind, Model, Pin, TimeAxis, Value};

/// The steps by one clock.
#[derive(Clone, Debug)]
pub(super) struct Steps<'a> {
    /// T.
    pub(super) time: usize,
    given: StepSource<'a>,
    /// Whether some row has a dead step.
    pub(super) masked: bool,
}

/// Steps of another clock, equally far apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// `None` for a row, which is one step.
    clock: Option<usize>,
    first: usize,
    step: usize,
    count: usize,
}

/// The live steps that the caller gives.
#[derive(Clone, Debug)]
enum StepSource<'a> {
    All,
    /// Each row has this many.
    Lengths(&'a [i64]),
    /// The steps of this mask, `[T, B]`.
    Mask(ArrayView2<'a, bool>),
}

/// What a user says about the steps of an axis.
enum Told<'a> {
    Lengths(&'a [i64]),
    Mask(ArrayView<'a, bool, IxDyn>),
}

/// Which steps a layer masks by the values of its input.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OwnMask {
    /// Steps whose features all have this value.
    Value(f32),
    /// Steps with this token.
    Token(usize),
}

impl OwnMask {
    /// Returns the mask of layer `layer` of `model`, and the index of the input that it reads.
    pub(crate) fn of(model: &Model, layer: usize) -> Option<(usize, Self)> {
        let of = model.layers.get(layer)?;
        let own = match of.kind {
            LayerKind::Masking(masking) => Self::Value(masking.value.get()),
            LayerKind::Embedding(Embedding { mask_token: Some(token), .. }) => Self::Token(token),
            _ => return None,
        };
        match model.origin(*of.from.first()?) {
            Value::Input(input) => Some((input, own)),
            Value::Layer(..) => None,
        }
    }

    /// Returns all masks of the clock at `clock` of `clocks`.
    pub(crate) fn of_clock(model: &Model, clocks: &Clocks, clock: usize) -> Vec<(usize, Self)> {
        let masking = clocks.all().get(clock).map_or(&[][..], |clock| &clock.masking);
        masking.iter().filter_map(|&layer| Self::of(model, layer)).collect()
    }

    /// Whether a step with these features stays live.
    pub(crate) fn keeps<'x>(self, features: impl IntoIterator<Item = &'x f32>) -> bool {
        match self {
            Self::Value(value) => features.into_iter().any(|&x| x != value),
            Self::Token(_) => true,
        }
    }

    /// Whether a step with this token stays live.
    pub(crate) fn keeps_token(self, token: i64) -> bool {
        match self {
            Self::Token(own) => usize::try_from(token) != Ok(own),
            Self::Value(_) => true,
        }
    }
}

impl Steps<'_> {
    /// Makes `time` steps, all live.
    pub(super) fn all(time: usize) -> Self {
        Self { time, given: StepSource::All, masked: false }
    }

    /// Whether row b has a step at t by the caller.
    pub(super) fn is_given(&self, t: usize, b: usize) -> bool {
        match &self.given {
            StepSource::All => true,
            StepSource::Lengths(lengths) => usize::try_from(lengths[b]).is_ok_and(|steps| t < steps),
            StepSource::Mask(mask) => mask[[t, b]],
        }
    }
}

impl<'a> Call<'a> {
    /// Sets the steps by each clock, with the lengths and masks of `input`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if lengths or a mask do not fit, an axis has both, a slice leaves no
    /// step, or joined values differ in their number of steps.
    pub(super) fn with_steps(mut self, input: &'a Input) -> Result<Self> {
        self.cut()?;
        input.known(self.model, &self.clocks)?;
        input.check_common(&self)?;
        for index in 0..self.clocks.all().len() {
            let axis = self.clocks.all()[index].axis;
            let time = self.axis_time(axis);
            // Set until it is known whether any step is dead, since `is_live` reads it.
            let steps = Steps { time, given: input.given(&self, axis)?, masked: true };
            match index {
                0 => self.first = steps,
                _ => self.rest.push(steps),
            }
        }
        self.end_rows()?;
        for index in 0..self.clocks.all().len() {
            let masked = self.misses(index);
            match index.checked_sub(1) {
                None => self.first.masked = masked,
                Some(other) => self.rest[other].masked = masked,
            }
        }
        Ok(self)
    }

    /// Finds the live steps of each row after a layer of windows, which are those that the row has alone.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if a row would have others.
    fn end_rows(&mut self) -> Result<()> {
        for (layer, of) in self.model.layers.iter().enumerate() {
            let Some(clock) = of.from.first().and_then(|&value| self.clocks.of_value(value)) else { continue };
            let time = self.axis_time(self.clocks.all()[clock].axis);
            let Some(places) = of.kind.places(time) else { continue };
            // Rows that no layer and no caller masks are as long as the axis.
            let is_whole = self.clocks.all()[clock].masking.iter().all(|before| self.is_unmasked_piece(*before))
                && self.steps(clock).is_some_and(|steps| matches!(steps.given, StepSource::All));
            let row = |b: usize| {
                let is_live = |t: &usize| self.is_live(clock, *t, b);
                let first = (0..time).find(is_live).unwrap_or(time);
                first..(first..time).rfind(is_live).map_or(first, |last| last + 1)
            };
            let rows: Vec<Range<usize>> = if is_whole { Vec::new() } else { (0..self.form.batch).map(row).collect() };
            if rows.iter().all(|row| *row == (0..time)) {
                continue;
            }
            let ends = rows.into_iter().enumerate().map(|(b, row)| {
                let steps = row.len();
                of.kind.windows_of(row, time, places).map_err(|unlike| {
                    let text = format!("layer {}, row {b} of {steps} steps: {}", self.model.place(layer), unlike.text);
                    shape(text).hint(unlike.hint)
                })
            });
            let ends = ends.collect::<Result<Vec<_>>>()?;
            self.ends.insert(layer, ends);
        }
        Ok(())
    }

    /// Whether layer `layer` slices, joins or makes steps, none of which is dead.
    fn is_unmasked_piece(&self, layer: usize) -> bool {
        let of = &self.model.layers[layer].kind;
        of.gives_live_steps() || of.places(1).is_some() && !self.ends.contains_key(&layer)
    }

    /// Finds the pieces of the layers that slice or join steps.
    fn cut(&mut self) -> Result<()> {
        for layer in 0..self.model.layers.len() {
            self.needs_steps(layer)?;
            let Some(sources) = self.clocks.of_pieces(self.model, layer) else { continue };
            let time = |clock: &Option<usize>| clock.map(|clock| self.axis_time(self.clocks.all()[clock].axis));
            let times: Vec<_> = sources.iter().map(time).collect();
            // Steps that a layer makes are all live.
            let kind = &self.model.layers[layer].kind;
            let (makes, pieces) = (kind.gives_live_steps(), kind.pieces(&times).unwrap_or_default());
            let piece = |(&clock, &(first, count)): (&Option<usize>, &(usize, usize))| Piece {
                clock: clock.filter(|_| !makes),
                first,
                step: kind.step(),
                count,
            };
            let pieces: Vec<_> = sources.iter().zip(&pieces).map(piece).collect();
            let (own, place) = (length(&pieces), || format!("layer {}", self.model.place(layer)));
            if own == 0 {
                let known: Vec<_> = times.into_iter().flatten().collect();
                if let Some(wanted) = known.first().and_then(|&time| kind.wants_steps(time)) {
                    return Err(shape(format!("{}: {wanted}, got {known:?}", place())));
                }
                if let LayerKind::PadSteps(pad) = &self.model.layers[layer].kind {
                    let text = format!("{}: expected at least {} steps", place(), pad.least());
                    return Err(shape(format!("{text}, which go before and after them, got {known:?}")));
                }
                return Err(shape(format!("{}: expected a step to be left of {known:?}, got none", place())));
            }
            let output = self.clocks.of_value(Value::Layer(layer, Pin::Output));
            let axis = output.map(|clock| self.clocks.all()[clock].axis);
            if let Some(axis) = axis.filter(|axis| *axis != TimeAxis::Layer(layer)) {
                let wanted = self.axis_time(axis);
                if wanted != own {
                    let unmet = || shape(format!("{}: expected {wanted} steps, got {own}", place()));
                    return Err(self.unequal()?.unwrap_or_else(unmet));
                }
            }
            self.pieces.insert(layer, pieces);
        }
        Ok(())
    }

    /// Checks that the value that layer `layer` takes has as many steps as the layer needs.
    fn needs_steps(&self, layer: usize) -> Result<()> {
        let model = self.model;
        let of = &model.layers[layer];
        let Some(&value) = of.from.first().filter(|_| of.kind.is_of_all_steps()) else { return Ok(()) };
        let Some(clock) = self.clocks.of_value(value) else { return Ok(()) };
        let taken = model.flow_of(value, &model.all_inputs()?, &model.flows()?)?;
        let (wanted, got) = (of.kind.needed_steps(taken), self.axis_time(self.clocks.all()[clock].axis));
        match wanted.filter(|&wanted| wanted != got) {
            None => Ok(()),
            Some(wanted) => Err(shape(format!("layer {}: expected {wanted} steps, got {got}", model.place(layer)))),
        }
    }

    /// The error of the first join whose values have different numbers of steps; it names both.
    fn unequal(&self) -> Result<Option<Error>> {
        let (model, Form { batch, batching, axes, .. }) = (self.model, self.form);
        let (inputs, flows) = (model.all_inputs()?, model.flows()?);
        let mut times: Vec<Option<usize>> = Vec::new();
        for (index, layer) in model.layers.iter().enumerate() {
            let time = |value: &Value| match *value {
                Value::Input(input) => self.values(input).and_then(Values::time),
                Value::Layer(of, Pin::Output) => times.get(of).copied().flatten(),
                Value::Layer(..) => None,
            };
            let all: Vec<_> = layer.from.iter().map(time).collect();
            if let Some(pieces) = layer.kind.pieces(&all) {
                times.push(Some(pieces.iter().fold(0, |time: usize, (_, count)| time.saturating_add(*count))));
                continue;
            }
            // A query may have other steps than what it is compared with.
            let meets: Vec<&Value> = match &layer.kind {
                LayerKind::Attention(attention) => {
                    let (value, key) = attention.places(layer.from.len());
                    [value, key].into_iter().filter_map(|at| layer.from.get(at)).collect()
                }
                _ => layer.from.iter().collect(),
            };
            let mut taken = meets.into_iter().filter_map(|value| Some((value, time(value)?)));
            let first = taken.next();
            if let Some((value, time)) = first
                && let Some((other, own)) = taken.find(|(_, other)| *other != time)
            {
                let called = |value: &Value, time: usize| -> Result<String> {
                    let features = model.flow_of(*value, &inputs, &flows)?.features().len();
                    let shape = match (batching, axes) {
                        (Batching::Single, _) => vec![time, features],
                        (Batching::Batch, Axes::BatchFirst) => vec![batch, time, features],
                        (Batching::Batch, Axes::TimeMajor) => vec![time, batch, features],
                    };
                    Ok(format!("{} {shape:?}", model.called(*value, &inputs)))
                };
                let (value, other) = (called(value, time)?, called(other, own)?);
                let text = format!("layer {}: expected values of equal T, got {value} and {other}", model.place(index));
                return Ok(Some(shape(text)));
            }
            let is_row = matches!(flows[index], Flow::Rows(_));
            let own = if matches!(layer.kind, LayerKind::Attention(_)) { all[0] } else { first.map(|(_, time)| time) };
            times.push(own.filter(|_| !is_row));
        }
        Ok(None)
    }

    /// The number of steps of a time axis.
    fn axis_time(&self, axis: TimeAxis) -> usize {
        match axis {
            TimeAxis::Input(input) => self.values(input).and_then(Values::time).unwrap_or(self.form.time),
            TimeAxis::Layer(layer) => self.pieces.get(&layer).map_or(self.form.time, |pieces| length(pieces)),
        }
    }

    /// The steps by clock `clock`.
    pub(super) fn steps(&self, clock: usize) -> Option<&Steps<'a>> {
        match clock.checked_sub(1) {
            None => Some(&self.first),
            Some(other) => self.rest.get(other),
        }
    }

    /// Whether row b has a live step at t by clock `clock`: by the caller and by the model.
    pub(crate) fn is_live(&self, clock: usize, t: usize, b: usize) -> bool {
        let Some(steps) = self.steps(clock).filter(|steps| steps.masked) else { return true };
        let masking = &self.clocks.all()[clock].masking;
        steps.is_given(t, b) && masking.iter().all(|&layer| self.keeps(layer, t, b))
    }

    /// Whether layer `layer` keeps step t of row b live in its output.
    fn keeps(&self, layer: usize, t: usize, b: usize) -> bool {
        if let Some(ends) = self.ends.get(&layer) {
            return ends[b].contains(&t);
        }
        if let LayerKind::Conv1d(_) | LayerKind::WindowPool(_) = self.model.layers[layer].kind {
            return true;
        }
        if let Some(pieces) = self.pieces.get(&layer) {
            let mut t = t;
            for piece in pieces {
                if t < piece.count {
                    return piece.clock.is_none_or(|clock| self.is_live(clock, piece.first + t * piece.step, b));
                }
                t -= piece.count;
            }
            return true;
        }
        let Some((input, own)) = OwnMask::of(self.model, layer) else { return true };
        match self.values(input) {
            Some(Values::Features(x)) => own.keeps(x.slice(s![t, b, ..])),
            Some(Values::Tokens(x)) => own.keeps_token(x[[t, b]]),
            Some(Values::Row(_)) | None => true,
        }
    }

    /// Whether any step of any row is dead by clock `clock`.
    fn misses(&self, clock: usize) -> bool {
        let Some(steps) = self.steps(clock) else { return false };
        let plain = self.clocks.all()[clock].masking.is_empty();
        match &steps.given {
            StepSource::All if plain => false,
            StepSource::Lengths(lengths) if plain => {
                lengths.iter().any(|&length| usize::try_from(length) != Ok(steps.time))
            }
            _ => (0..steps.time).any(|t| (0..self.form.batch).any(|b| !self.is_live(clock, t, b))),
        }
    }
}

/// The number of steps of these pieces.
fn length(pieces: &[Piece]) -> usize {
    pieces.iter().fold(0, |time: usize, piece| time.saturating_add(piece.count))
}

impl Input<'_> {
    /// The user's lengths and masks, each with the name of its input. `None` stands for all
    /// inputs that have none of their own.
    fn told(&self) -> impl Iterator<Item = (Option<&str>, Told<'_>)> {
        let lengths_of = self.lengths_of.iter().map(|(name, lengths)| (Some(name.as_str()), lengths));
        let lengths = self.lengths.iter().map(|lengths| (None, lengths)).chain(lengths_of);
        let masks_of = self.masks_of.iter().map(|(name, mask)| (Some(name.as_str()), mask));
        let masks = self.mask.iter().map(|mask| (None, mask)).chain(masks_of);
        let lengths = lengths.map(|(name, lengths)| (name, Told::Lengths(lengths)));
        lengths.chain(masks.map(|(name, mask)| (name, Told::Mask(mask.view()))))
    }

    /// Checks that lengths and masks are only given for inputs with steps.
    fn known(&self, model: &Model, clocks: &Clocks) -> Result<()> {
        match self.told().filter_map(|(name, _)| name).find(|name| leader(model, clocks, name).is_none()) {
            None => Ok(()),
            Some(name) => Err(shape(format!("{name}: expected an input of steps, to give lengths or a mask for"))),
        }
    }

    /// Checks that lengths or a mask for all inputs fit those that have none of their own.
    fn check_common(&self, call: &Call<'_>) -> Result<()> {
        let word = match (&self.lengths, &self.mask) {
            (None, None) => return Ok(()),
            (Some(_), None) => "lengths",
            (None, Some(_)) => "mask",
            (Some(_), Some(_)) => {
                return Err(shape("lengths and mask: expected one of them, got both; a mask says it all"));
            }
        };
        let input = |axis| if let TimeAxis::Input(input) = axis { Some(input) } else { None };
        let leaders = || call.clocks.all().iter().filter_map(|clock| input(clock.axis));
        let own = |leader| self.told().filter_map(|(name, _)| name).find(|name| tells(call, name, leader));
        let mut of = leaders().filter(|&leader| own(leader).is_none());
        let name = |input| call.model.input_name(input);
        let Some(first) = of.next() else {
            let first = leaders().next().unwrap_or(call.model.main_input());
            return Err(shape(two(name(first), own(first))));
        };
        let time = |input| call.axis_time(TimeAxis::Input(input));
        match of.find(|&other| time(other) != time(first)) {
            None => Ok(()),
            Some(other) => {
                let (a, b) = (name(first), name(other));
                let text = format!(
                    "{word}: expected inputs of equal T, since it is told of all, got {a} of {} steps and {b} of {}",
                    time(first),
                    time(other)
                );
                let of_one = if word == "lengths" { "lengths_of" } else { "mask_of" };
                let hint = format!("{a}_{word} and {b}_{word} (Input::{of_one}) are told of one");
                Err(shape(text).hint(hint))
            }
        }
    }

    /// Returns the lengths or the mask of a time axis: its own, or those for all inputs.
    fn given(&self, call: &Call<'_>, axis: TimeAxis) -> Result<StepSource<'_>> {
        let TimeAxis::Input(leader) = axis else { return Ok(StepSource::All) };
        let mut own = self.told().filter(|(name, _)| name.is_some_and(|name| tells(call, name, leader)));
        let told = own.next();
        if let (Some((Some(name), _)), Some((other, _))) = (&told, own.next()) {
            return Err(shape(two(name, other)));
        }
        let Some((name, told)) = told.or_else(|| self.told().find(|(name, _)| name.is_none())) else {
            return Ok(StepSource::All);
        };
        let form = Form { time: call.axis_time(axis), ..call.form };
        let given = match told {
            Told::Lengths(lengths) => form.check_lengths(lengths).map(|()| StepSource::Lengths(lengths)),
            Told::Mask(mask) => checked_mask(form, mask).map(StepSource::Mask),
        };
        given.map_err(|e| match name {
            None if call.model.inputs.is_empty() => e,
            None => e.at(call.model.input_name(leader)),
            Some(name) => e.at(name),
        })
    }
}

/// The error if the steps of `name` are given twice; the second time for `other`, or for all.
fn two(name: &str, other: Option<&str>) -> String {
    match other.filter(|other| *other != name) {
        None => format!("{name}: expected lengths or a mask, got two of them; a mask says it all"),
        Some(other) => {
            format!("lengths and masks: expected one for the time axis that {name} and {other} share, got two")
        }
    }
}

/// The input that leads the time axis of the input `name`.
fn leader(model: &Model, clocks: &Clocks, name: &str) -> Option<usize> {
    clocks.leader(model.inputs.iter().position(|input| input.name == name)?)
}

/// Whether the input `name` is on the time axis that input `leader` leads.
fn tells(call: &Call<'_>, name: &str, leader: usize) -> bool {
    self::leader(call.model, &call.clocks, name) == Some(leader)
}

/// Checks a mask and returns it as `[T, B]`, for either order of the model's axes.
fn checked_mask(form: Form, mask: ArrayView<'_, bool, IxDyn>) -> Result<ArrayView2<'_, bool>> {
    let (expected, letters): (&[usize], _) = match form.batching {
        Batching::Batch => (&[form.batch, form.time], "B, T"),
        Batching::Single => (&[form.time], "T"),
    };
    if mask.shape() != expected {
        return Err(shape(format!("mask: expected {expected:?} ({letters}), got {:?}", mask.shape())));
    }
    // A mask has one order of axes, as lengths have one: each of its rows is a row of the batch.
    let rows = Form { axes: Axes::BatchFirst, ..form };
    Ok(rows.time_major(mask))
}
