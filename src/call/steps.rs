//! The steps of a call: how many each time axis has, and which of them there are, by the caller and by the model.
//!
//! Views of what the user wrote. Knows clocks and inputs; knows no state.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayView2};

use super::form::{Batching, Form};
use super::inputs::Values;
use super::{Input, shape};
use crate::error::Result;
use crate::model::{Axes, Clocks, Embedding, LayerKind, Model, Pin, TimeAxis, Value};

/// The steps by one clock.
#[derive(Clone, Debug)]
pub(super) struct Steps<'a> {
    /// T.
    pub(super) time: usize,
    given: Given<'a>,
    /// Which input tells more, and how.
    own: Vec<(usize, Own)>,
    /// The pieces of which the steps are, for each layer that slices or joins them.
    pieces: Vec<Vec<Piece>>,
    /// Whether there is a step that some row has not.
    pub(super) masked: bool,
}

/// Steps of another clock, one after the other.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// None of a row, which is one step.
    clock: Option<usize>,
    first: usize,
    count: usize,
}

/// Which steps there are by the caller.
#[derive(Clone, Debug)]
enum Given<'a> {
    All,
    /// As many as this of each row.
    Lengths(&'a [i64]),
    /// Those of this mask, `[T, B]`.
    Mask(ArrayView2<'a, bool>),
}

/// What a user says of the steps of an axis.
enum Told<'a> {
    Lengths(&'a [i64]),
    Mask(&'a ArrayD<bool>),
}

/// Which steps a layer takes out by what its input holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Own {
    /// Those whose features are all this.
    Value(f32),
    /// Those of this token.
    Token(usize),
}

impl Own {
    /// Which steps layer `layer` of `model` takes out, and the input that tells.
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

    /// All of those of the clock at `clock` of `clocks`.
    pub(crate) fn of_clock(model: &Model, clocks: &Clocks, clock: usize) -> Vec<(usize, Self)> {
        let masking = clocks.all().get(clock).map_or(&[][..], |clock| &clock.masking);
        masking.iter().filter_map(|&layer| Self::of(model, layer)).collect()
    }

    /// Whether a step of these features stays.
    pub(crate) fn keeps<'x>(self, features: impl IntoIterator<Item = &'x f32>) -> bool {
        match self {
            Self::Value(value) => features.into_iter().any(|&x| x != value),
            Self::Token(_) => true,
        }
    }

    /// Whether a step of this token stays.
    pub(crate) fn keeps_token(self, token: i64) -> bool {
        match self {
            Self::Token(own) => usize::try_from(token) != Ok(own),
            Self::Value(_) => true,
        }
    }
}

impl<'a> Steps<'a> {
    /// Those by each clock of a call of `input`, whose main sequence has `form` and whose inputs are `values`.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where lengths or a mask do not fit, or an axis has both.
    pub(super) fn of(
        input: &'a Input,
        model: &Model,
        form: Form,
        clocks: &Clocks,
        values: &[Option<Values<'a>>],
    ) -> Result<Vec<Self>> {
        let axes = TimeAxes::of(model, form, clocks, values)?;
        let by_axis = input.given(model, form, clocks, &axes)?;
        let mut all: Vec<Self> = Vec::with_capacity(clocks.all().len());
        for (index, clock) in clocks.all().iter().enumerate() {
            let time = axes.time(clock.axis);
            let given = by_axis.get(&clock.axis).cloned().unwrap_or(Given::All);
            let pieces = clock.masking.iter().filter_map(|layer| axes.pieces.get(layer).cloned()).collect();
            all.push(Self { time, given, own: Own::of_clock(model, clocks, index), pieces, masked: true });
        }
        // A clock may look at others, which count as masked until it is known.
        let masked: Vec<bool> = (0..all.len()).map(|clock| all[clock].misses(form.batch, &all, values)).collect();
        all.iter_mut().zip(masked).for_each(|(steps, masked)| steps.masked = masked);
        Ok(all)
    }

    /// Whether row b has a step at t by the caller.
    pub(super) fn is_given(&self, t: usize, b: usize) -> bool {
        match &self.given {
            Given::All => true,
            Given::Lengths(lengths) => usize::try_from(lengths[b]).is_ok_and(|steps| t < steps),
            Given::Mask(mask) => mask[[t, b]],
        }
    }

    /// Whether row b has a step at t, by the caller and by the model.
    pub(super) fn is_live(&self, all: &[Self], values: &[Option<Values<'_>>], t: usize, b: usize) -> bool {
        !self.masked || self.is_given(t, b) && self.is_own(values, t, b) && self.is_in_pieces(all, values, t, b)
    }

    /// Whether the pieces have the step.
    fn is_in_pieces(&self, all: &[Self], values: &[Option<Values<'_>>], t: usize, b: usize) -> bool {
        self.pieces.iter().all(|pieces| {
            let mut t = t;
            for piece in pieces {
                if t < piece.count {
                    let clock = piece.clock.and_then(|clock| all.get(clock));
                    return clock.is_none_or(|clock| clock.is_live(all, values, piece.first + t, b));
                }
                t -= piece.count;
            }
            true
        })
    }

    fn is_own(&self, values: &[Option<Values<'_>>], t: usize, b: usize) -> bool {
        self.own.iter().all(|&(input, own)| match values.get(input).and_then(Option::as_ref) {
            Some(Values::Features(x)) => own.keeps(x.slice(ndarray::s![t, b, ..])),
            Some(Values::Tokens(x)) => own.keeps_token(x[[t, b]]),
            Some(Values::Row(_)) | None => true,
        })
    }

    /// Whether any step of any row is dead.
    fn misses(&self, batch: usize, all: &[Self], values: &[Option<Values<'_>>]) -> bool {
        let plain = self.own.is_empty() && self.pieces.is_empty();
        match &self.given {
            Given::All if plain => false,
            Given::Lengths(lengths) if plain => lengths.iter().any(|&length| usize::try_from(length) != Ok(self.time)),
            _ => (0..self.time).any(|t| (0..batch).any(|b| !self.is_live(all, values, t, b))),
        }
    }
}

impl Input {
    /// The lengths or the mask of each time axis, by the input that tells its number of steps.
    fn given<'a>(
        &'a self,
        model: &Model,
        form: Form,
        clocks: &Clocks,
        axes: &TimeAxes,
    ) -> Result<BTreeMap<TimeAxis, Given<'a>>> {
        let main = model.main_input();
        let own = |name: &str| model.inputs.iter().position(|input| input.name == name);
        let mut all: BTreeMap<TimeAxis, (&str, Given<'a>)> = BTreeMap::new();
        let lengths_of = self.lengths_of.iter().map(|(name, lengths)| (name.as_str(), lengths));
        let lengths = self.lengths.iter().map(|lengths| ("", lengths)).chain(lengths_of);
        let masks_of = self.masks_of.iter().map(|(name, mask)| (name.as_str(), mask));
        let masks = self.mask.iter().map(|mask| ("", mask)).chain(masks_of);
        let told = lengths.map(|(name, lengths)| (name, Told::Lengths(lengths)));
        for (name, told) in told.chain(masks.map(|(name, mask)| (name, Told::Mask(mask)))) {
            let input = if name.is_empty() { Some(main) } else { own(name) };
            let Some(leader) = input.and_then(|input| clocks.leader(input)).map(TimeAxis::Input) else {
                return Err(shape(format!("{name}: expected an input of steps, to give lengths or a mask for")));
            };
            let form = Form { time: axes.time(leader), ..form };
            let given = match told {
                Told::Lengths(lengths) => form.check_lengths(lengths).map(|()| Given::Lengths(lengths)),
                Told::Mask(mask) => checked_mask(form, mask).map(Given::Mask),
            };
            let given = given.map_err(|e| if name.is_empty() { e } else { e.at(name) })?;
            if let Some((other, _)) = all.insert(leader, (name, given)) {
                return Err(shape(match (other, name) {
                    ("", "") => "lengths and mask: expected one of them, got both; a mask says it all".to_owned(),
                    _ => {
                        let named =
                            |name: &str| if name.is_empty() { model.main_name().to_owned() } else { name.into() };
                        format!(
                            "lengths and masks: expected one for the time axis that {} and {} share, got two",
                            named(other),
                            named(name)
                        )
                    }
                }));
            }
        }
        Ok(all.into_iter().map(|(leader, (_, given))| (leader, given)).collect())
    }
}

/// The number of steps of each time axis of a call, and what layers slice and join.
struct TimeAxes {
    times: BTreeMap<TimeAxis, usize>,
    /// By layer.
    pieces: BTreeMap<usize, Vec<Piece>>,
    main: usize,
}

impl TimeAxes {
    /// Those of a call whose main sequence has `form` and whose inputs are `values`.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where a slice leaves no step, or two values that meet have different numbers of steps.
    fn of(model: &Model, form: Form, clocks: &Clocks, values: &[Option<Values<'_>>]) -> Result<Self> {
        let times = values
            .iter()
            .enumerate()
            .filter_map(|(input, values)| Some((TimeAxis::Input(input), values.as_ref()?.time()?)));
        let mut axes = Self { times: times.collect(), pieces: BTreeMap::new(), main: form.time };
        for layer in 0..model.layers.len() {
            let Some(sources) = clocks.of_pieces(model, layer) else { continue };
            let time = |clock: &Option<usize>| clock.map(|clock| axes.time(clocks.all()[clock].axis));
            let times: Vec<_> = sources.iter().map(time).collect();
            let pieces = model.layers[layer].kind.pieces(&times).unwrap_or_default();
            let own = pieces.iter().fold(0, |time: usize, (_, count)| time.saturating_add(*count));
            let place = || format!("layer {}", model.place(layer));
            if own == 0 {
                return Err(shape(format!(
                    "{}: expected at least one step to be left of {times:?}, got none",
                    place()
                )));
            }
            let piece = |(&clock, &(first, count)): (&Option<usize>, &(usize, usize))| Piece { clock, first, count };
            axes.pieces.insert(layer, sources.iter().zip(&pieces).map(piece).collect());
            axes.times.insert(TimeAxis::Layer(layer), own);
            let shared = clocks.of_value(Value::Layer(layer, Pin::Output)).map(|clock| clocks.all()[clock].axis);
            let wanted = shared.and_then(|axis| axes.times.get(&axis).copied()).unwrap_or(own);
            if wanted != own {
                let text = format!("{}: expected {wanted} steps, as what it meets in a join has, got {own}", place());
                return Err(shape(text));
            }
        }
        Ok(axes)
    }

    fn time(&self, axis: TimeAxis) -> usize {
        self.times.get(&axis).copied().unwrap_or(self.main)
    }
}

/// The mask `[T, B]`, of any axes of the model.
fn checked_mask(form: Form, mask: &ArrayD<bool>) -> Result<ArrayView2<'_, bool>> {
    let (expected, letters): (&[usize], _) = match form.batching {
        Batching::Batch => (&[form.batch, form.time], "B, T"),
        Batching::Single => (&[form.time], "T"),
    };
    if mask.shape() != expected {
        return Err(shape(format!("mask: expected {expected:?} ({letters}), got {:?}", mask.shape())));
    }
    // A mask has one order of axes, as lengths have one: a row of it is a row of the batch.
    let rows = Form { axes: Axes::BatchFirst, ..form };
    Ok(rows.time_major(mask.view()))
}
