//! `Objective` and `Targets` → what an executor aims at: time-major
//! and checked, with every factor of a row in one number.

use ndarray::{Array, Array2, Array3, ArrayD, Dimension};

use super::head::part_of;
use super::place::AxisIndex;
use super::{Huber, Loss, Objective, Targets, Term, Wanted};
use crate::call::{Batching, Call};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Axes, Flow, Model, Value};

/// A term of an objective for one call: its loss is `Σ scale[t, b] · ℓ(row t, b)`.
///
/// T is that of the output, or 1 if it has no time axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aim {
    /// What the term measures.
    pub(crate) measured: Measured,
    /// The targets; 0 where `scale` is 0.
    pub(crate) aimed: Aimed,
    /// `[T, B]`: 0 where there is no step and where the target is ignored. Elsewhere it is the weight of
    /// the term times the sample weight times that of the class, divided by what the mean divides by.
    pub(crate) scale: Array2<f32>,
    /// `[T, B]`: how much each row counts, before the division.
    pub(crate) counts: Array2<f64>,
}

/// What a term of an objective measures in any call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measured {
    /// The output.
    pub(crate) value: Value,
    /// What flows from it.
    pub(crate) flow: Flow,
    /// The layer whose activation is left off on the way to the loss: that of the output, or
    /// one behind dropout and selections. Other layers may read its output with the activation.
    pub(crate) bare: Option<usize>,
    /// The function ℓ.
    pub(crate) measure: Measure,
}

/// The function ℓ of a row of outputs `y` or logits `z` with F features.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Measure {
    /// `−ln p_y` with `p = softmax(z)`.
    CrossEntropy,
    /// `(1 − s) w_y (−ln p_y) + s/F · Σ_c w_c (−ln p_c)`. Only here
    /// the weight of the row's class is in ℓ and not in the scale.
    Smoothed {
        /// s.
        share: f32,
        /// w, one for each class.
        class_weights: Vec<f32>,
    },
    /// `Σ_f −t ln σ(z) − (1 − t) ln (1 − σ(z))`; the targets are smoothed already.
    BinaryCrossEntropy,
    /// `Σ_f (y − t)²`.
    Squared,
    /// `Σ_f |y − t|`.
    Absolute,
    /// `Σ_f` of `e²/2` where `|e| ≤ δ`, else `δ (|e| − δ/2)`.
    Huber {
        /// δ.
        delta: f32,
    },
    /// `Σ_f y²`.
    SumOfSquares,
}

/// The targets of a term.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Aimed {
    /// `[T, B]`.
    Classes(Array2<u32>),
    /// `[T, B, F]`.
    Values(Array3<f32>),
    /// No targets are needed.
    None,
}

impl Objective {
    /// Computes what each term aims at in a call.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) if targets or sample weights do not fit an output;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if nothing counts;
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if a loss does
    ///   not fit the last layer or the model has no such output.
    pub(crate) fn check(&self, model: &Model, call: &Call<'_>, targets: &[Targets]) -> Result<Vec<Aim>> {
        let mut aims = Vec::new();
        self.check_again(model, call, targets, &mut aims)?;
        Ok(aims)
    }

    /// Does the same as [`check`](Self::check), and writes into `aims`. They are those of
    /// another call with the same model and objective, whose memory is used again, or empty.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check).
    pub(crate) fn check_again(
        &self,
        model: &Model,
        call: &Call<'_>,
        targets: &[Targets],
        aims: &mut Vec<Aim>,
    ) -> Result<()> {
        if aims.is_empty() {
            aims.extend(self.measured(model)?.into_iter().map(Aim::of));
        }
        if targets.len() != self.terms.len() {
            let (wanted, got) = (self.terms.len(), targets.len());
            return Err(shape(format!("targets: expected {wanted}, one for each loss of the objective, got {got}")));
        }
        let several = self.terms.len() > 1;
        for (index, ((term, targets), aim)) in self.terms.iter().zip(targets).zip(aims).enumerate() {
            let place = || if several { format!("targets {index}") } else { "targets".to_owned() };
            let rows = Rows::of(call, aim.measured.value, aim.measured.flow);
            rows.aim(term, targets, aim).map_err(|e| e.at(place()))?;
        }
        Ok(())
    }

    /// Returns what each term measures of `model` in any call.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model)
    /// if a loss does not fit the last layer or the model has no such output.
    pub(crate) fn measured(&self, model: &Model) -> Result<Vec<Measured>> {
        let (values, flows) = (model.feature_outputs(), model.output_flows()?);
        if self.terms.is_empty() {
            return Err(wrong("objective: expected at least one loss, got none"));
        }
        let several = self.terms.len() > 1;
        let mut all = Vec::with_capacity(self.terms.len());
        for (index, term) in self.terms.iter().enumerate() {
            let place = if several { format!("loss {index}") } else { "loss".to_owned() };
            let (Some(&value), Some(&flow)) = (values.get(term.output), flows.get(term.output)) else {
                let text = format!("expected an output below {}, got {}", values.len(), term.output);
                return Err(wrong(text).at(place));
            };
            let bare = part_of(&term.loss, model, value).map_err(|e| e.at(&place))?;
            let measure = Measure::of(term, flow.features().len()).map_err(|e| e.at(place))?;
            all.push(Measured { value, flow, bare, measure });
        }
        Ok(all)
    }
}

/// Returns the shape of each output of a call, features last: that of numbers it may be compared with.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other.
pub(crate) fn shapes(model: &Model, call: &Call<'_>) -> Result<Vec<Vec<usize>>> {
    let outputs = model.feature_outputs().into_iter().zip(model.output_flows()?);
    let shape = |(value, flow): (Value, Flow)| {
        let rows = Rows::of(call, value, flow);
        rows.with_features().to_vec()
    };
    Ok(outputs.map(shape).collect())
}

impl Aim {
    /// Makes an aim without the parts of a call.
    fn of(measured: Measured) -> Self {
        let (scale, counts) = (Array2::default((0, 0)), Array2::default((0, 0)));
        Self { measured, aimed: Aimed::None, scale, counts }
    }
}

impl Aimed {
    /// Makes these the classes of `dims` rows, all 0.
    fn classes(&mut self, dims: (usize, usize)) -> &mut Array2<u32> {
        if !matches!(self, Self::Classes(_)) {
            *self = Self::Classes(Array2::default((0, 0)));
        }
        let Self::Classes(classes) = self else { unreachable!("they are classes now") };
        zero(classes, dims);
        classes
    }

    /// Makes these the numbers of `dims` rows, all 0.
    fn values(&mut self, dims: (usize, usize, usize)) -> &mut Array3<f32> {
        if !matches!(self, Self::Values(_)) {
            *self = Self::Values(Array3::default((0, 0, 0)));
        }
        let Self::Values(values) = self else { unreachable!("they are numbers now") };
        zero(values, dims);
        values
    }
}

/// Makes `array` zeros of `dims`, in its own memory if the shape is the same.
fn zero<N: Clone + Default, D: Dimension>(array: &mut Array<N, D>, dims: impl ndarray::IntoDimension<Dim = D>) {
    let dims = dims.into_dimension();
    if array.raw_dim() == dims {
        array.fill(N::default());
    } else {
        *array = Array::default(dims);
    }
}

impl Measure {
    /// Returns the measure of a term whose output has `features` features.
    fn of(term: &Term, features: usize) -> Result<Self> {
        let within = |what: &str, share: f32| {
            if (0.0..=1.0).contains(&share) {
                return Ok(());
            }
            Err(wrong(format!("{what}: expected 0 to 1, got {share}")))
        };
        if !term.weight.is_finite() {
            return Err(wrong(format!("weight: expected a finite number, got {}", term.weight)));
        }
        match &term.loss {
            Loss::CrossEntropy(loss) => {
                within("smoothing", loss.smoothing)?;
                if let Some(weights) = &loss.class_weights {
                    if weights.len() != features {
                        let got = weights.len();
                        return Err(wrong(format!(
                            "class_weights: expected {features}, one for each class, got {got}"
                        )));
                    }
                    check_weights(weights)?;
                }
                if loss.smoothing == 0.0 {
                    return Ok(Self::CrossEntropy);
                }
                let class_weights = loss.class_weights.clone().unwrap_or_else(|| vec![1.0; features]);
                Ok(Self::Smoothed { share: loss.smoothing, class_weights })
            }
            Loss::BinaryCrossEntropy(loss) => {
                within("smoothing", loss.smoothing)?;
                if let Some(weights) = &loss.class_weights {
                    if features != 1 {
                        let text = format!("class_weights: expected an output of one feature, got {features}");
                        return Err(wrong(text));
                    }
                    check_weights(weights)?;
                }
                Ok(Self::BinaryCrossEntropy)
            }
            Loss::MeanSquared => Ok(Self::Squared),
            Loss::MeanAbsolute => Ok(Self::Absolute),
            Loss::Huber(Huber { delta }) if *delta > 0.0 && delta.is_finite() => Ok(Self::Huber { delta: *delta }),
            Loss::Huber(Huber { delta }) => Err(wrong(format!("delta: expected a number above 0, got {delta}"))),
            Loss::SumOfSquares => Ok(Self::SumOfSquares),
        }
    }
}

/// Checks class weights: each is finite and 0 or more.
fn check_weights(class_weights: &[f32]) -> Result<()> {
    match class_weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
        None => Ok(()),
        Some(bad) => Err(wrong(format!("class_weights: expected finite numbers from 0 on, got {bad}"))),
    }
}

/// The rows of an output in a call.
struct Rows<'a, 'c> {
    call: &'a Call<'c>,
    /// The clock of the output; none without a time axis.
    clock: Option<usize>,
    /// T; 1 without a time axis.
    time: usize,
    /// F.
    features: usize,
}

impl<'a, 'c> Rows<'a, 'c> {
    fn of(call: &'a Call<'c>, value: Value, flow: Flow) -> Self {
        let clock = call.clocks().of_value(value).filter(|_| matches!(flow, Flow::Steps(_)));
        Self { call, clock, time: clock.map_or(1, |clock| call.time(clock)), features: flow.features().len() }
    }

    /// Yields the rows that count by `[t, b]`: all rows, or the live steps of each.
    fn live(&self) -> impl Iterator<Item = [usize; 2]> {
        let is_live = |at: &[usize; 2]| self.clock.is_none_or(|clock| self.call.is_live(clock, at[0], at[1]));
        (0..self.time).flat_map(|t| (0..self.call.form.batch).map(move |b| [t, b])).filter(is_live)
    }

    /// Returns the lengths of the caller's axes.
    fn shape(&self) -> AxisIndex {
        self.index([self.time, self.call.form.batch])
    }

    /// Returns the caller's index of row b at t. For the ends of both axes these are the lengths.
    fn index(&self, [t, b]: [usize; 2]) -> AxisIndex {
        match (self.clock, self.call.form.batching, self.call.form.axes) {
            (None, Batching::Single, _) => AxisIndex::of(&[]),
            (None, Batching::Batch, _) => AxisIndex::of(&[b]),
            (Some(_), Batching::Single, _) => AxisIndex::of(&[t]),
            (Some(_), Batching::Batch, Axes::BatchFirst) => AxisIndex::of(&[b, t]),
            (Some(_), Batching::Batch, Axes::TimeMajor) => AxisIndex::of(&[t, b]),
        }
    }

    /// Returns the letters of the axes, for messages.
    fn letters(&self) -> &'static str {
        match (self.clock, self.call.form.batching, self.call.form.axes) {
            (None, Batching::Single, _) => "one row",
            (None, Batching::Batch, _) => "B",
            (Some(_), Batching::Single, _) => "T",
            (Some(_), Batching::Batch, Axes::BatchFirst) => "B, T",
            (Some(_), Batching::Batch, Axes::TimeMajor) => "T, B",
        }
    }

    /// Returns T and B.
    fn dims(&self) -> (usize, usize) {
        (self.time, self.call.form.batch)
    }

    /// Writes the targets of a term, and the scale of each row.
    fn aim(&self, term: &Term, targets: &Targets, aim: &mut Aim) -> Result<()> {
        let Aim { measured: Measured { measure, .. }, aimed, scale, counts: weights } = aim;
        zero(weights, self.dims());
        let denominator = match (&term.loss, &targets.wanted) {
            (Loss::CrossEntropy(loss), Wanted::Classes(given)) => {
                let classes = self.classes(given, loss.ignore, (aimed, weights))?;
                let class_weight = |at: [usize; 2]| match &loss.class_weights {
                    Some(all) => f64::from(all[classes[at] as usize]),
                    None => 1.0,
                };
                let sum: f64 = self.live().filter(|at| weights[*at] > 0.0).map(class_weight).sum();
                if sum == 0.0 {
                    let text = if weights.iter().all(|weight| *weight == 0.0) {
                        format!("expected a class that counts, got {} at every step that there is", loss.ignore)
                    } else {
                        "expected a class of a weight above 0, got none".to_owned()
                    };
                    return Err(nothing(text));
                }
                if *measure == Measure::CrossEntropy {
                    self.live().for_each(|at| weights[at] *= class_weight(at));
                }
                sum
            }
            (Loss::CrossEntropy(_), _) => {
                let (wanted, letters) = (self.shape(), self.letters());
                return Err(shape(format!("expected integer classes {wanted:?} ({letters}), got {}", targets.text())));
            }
            (Loss::SumOfSquares, Wanted::None) => {
                self.live().for_each(|at| weights[at] = 1.0);
                *aimed = Aimed::None;
                1.0
            }
            (Loss::SumOfSquares, _) => {
                return Err(shape(format!("expected none for sum_of_squares, got {}", targets.text())));
            }
            (_, Wanted::Values(given)) => {
                self.values(given, &term.loss, (aimed, weights))?;
                #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
                let count = (self.live().count() * self.features) as f64;
                if count == 0.0 {
                    return Err(nothing("expected a step that there is, got none in any row"));
                }
                count
            }
            (loss, Wanted::Classes(_) | Wanted::None) => {
                return Err(shape(format!(
                    "expected numbers {:?} for {}, got {}",
                    self.with_features(),
                    loss.name(),
                    targets.text()
                )));
            }
        };
        if let Some(given) = &targets.sample_weights {
            self.weigh(given, weights).map_err(|e| e.at("sample_weights"))?;
        }
        zero(scale, self.dims());
        #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what executors multiply by")]
        scale.zip_mut_with(weights, |scale, weight| *scale = (f64::from(term.weight) * weight / denominator) as f32);
        Ok(())
    }

    /// Writes the classes, each below F, and sets the weight of rows that count to 1.
    fn classes<'b>(
        &self,
        given: &ArrayD<i64>,
        ignore: i64,
        (aimed, weights): (&'b mut Aimed, &mut Array2<f64>),
    ) -> Result<&'b Array2<u32>> {
        if *given.shape() != *self.shape() {
            let (wanted, letters) = (self.shape(), self.letters());
            return Err(shape(format!("expected classes {wanted:?} ({letters}), got {:?}", given.shape())));
        }
        let classes = aimed.classes(self.dims());
        for at in self.live() {
            let class = given[&self.index(at)[..]];
            if class == ignore {
                continue;
            }
            let Some(known) = u32::try_from(class).ok().filter(|&class| (class as usize) < self.features) else {
                let (last, place) = (self.features - 1, self.index(at));
                return Err(shape(format!(
                    "expected classes from 0 to {last}, or {ignore} for one that does not count, got {class} at {place:?}"
                )));
            };
            classes[at] = known;
            weights[at] = 1.0;
        }
        Ok(classes)
    }

    /// Writes the numbers, and sets the weight of live rows to 1, or to that of their class.
    fn values(&self, given: &ArrayD<f32>, loss: &Loss, (aimed, weights): (&mut Aimed, &mut Array2<f64>)) -> Result<()> {
        let (rows, wanted) = (self.shape(), self.with_features());
        let flat = matches!(loss, Loss::BinaryCrossEntropy(_)) && self.features == 1 && *given.shape() == *rows;
        if *given.shape() != *wanted && !flat {
            let letters = self.letters();
            return Err(shape(format!("expected {wanted:?} ({letters}, F), got {:?}", given.shape())));
        }
        let values = aimed.values((self.time, self.call.form.batch, self.features));
        for at in self.live() {
            weights[at] = 1.0;
            for feature in 0..self.features {
                let place = if flat { self.index(at) } else { self.index(at).and(feature) };
                let value = given[&place[..]];
                let value = match loss {
                    Loss::BinaryCrossEntropy(_) if !(0.0..=1.0).contains(&value) => {
                        return Err(shape(format!("expected numbers from 0 to 1, got {value} at {place:?}")));
                    }
                    Loss::BinaryCrossEntropy(loss) => {
                        // There is one feature, so this is the weight of the row.
                        if let Some([no, yes]) = loss.class_weights.map(|all| all.map(f64::from)) {
                            weights[at] = no * (1.0 - f64::from(value)) + yes * f64::from(value);
                        }
                        value * (1.0 - loss.smoothing) + loss.smoothing / 2.0
                    }
                    _ if !value.is_finite() => {
                        return Err(shape(format!("expected finite numbers, got {value} at {place:?}")));
                    }
                    _ => value,
                };
                values[[at[0], at[1], feature]] = value;
            }
        }
        Ok(())
    }

    /// Multiplies the weights of rows that count by the sample weights.
    fn weigh(&self, given: &ArrayD<f32>, weights: &mut Array2<f64>) -> Result<()> {
        let (each, batched) = (self.shape(), self.call.form.batching == Batching::Batch);
        let by_row = batched && given.shape() == [self.call.form.batch];
        if *given.shape() != *each && !by_row {
            let or = if batched && self.clock.is_some() { " or one for each row [B]" } else { "" };
            let letters = self.letters();
            return Err(shape(format!("expected {each:?} ({letters}){or}, got {:?}", given.shape())));
        }
        for at in self.live() {
            let place = if by_row { AxisIndex::of(&[at[1]]) } else { self.index(at) };
            let weight = given[&place[..]];
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(shape(format!("expected finite numbers from 0 on, got {weight} at {place:?}")));
            }
            weights[at] *= f64::from(weight);
        }
        Ok(())
    }

    fn with_features(&self) -> AxisIndex {
        self.shape().and(self.features)
    }
}

impl Targets {
    /// Describes the targets, for messages.
    fn text(&self) -> String {
        match &self.wanted {
            Wanted::Classes(classes) => format!("integers {:?}", classes.shape()),
            Wanted::Values(values) => format!("numbers {:?}", values.shape()),
            Wanted::None => "none".into(),
        }
    }
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Model, text)
}

/// Makes an error of targets of which none counts. It is about a whole call, not about a row.
fn nothing(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Training, text)
}

fn shape(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Shape, text)
}
