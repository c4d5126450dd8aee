//! `Output` → named tensors: the value of each port, in its axes.
//!
//! Knows ports and calls; knows no weights.

use ndarray::{ArrayD, Axis, IxDyn, concatenate};

use super::{Values, arrange, letter, shape};
use crate::call::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Dim, Flow, Model, OutputPort, OutputValue, State};

/// The results of a call, and their axes.
pub(super) struct Results<'a> {
    model: &'a Model,
    output: &'a Output,
    /// The features of each output: `output.output` first, then the others.
    flows: Vec<Flow>,
    /// The axis that the call lacked.
    missing: Option<Dim>,
}

/// Features of a call, as they are.
struct PortSource<'a> {
    array: &'a ArrayD<f32>,
    axes: Vec<Dim>,
    /// The numbers and sizes of the parts of its features.
    parts: [usize; 2],
}

impl<'a> Results<'a> {
    pub(super) fn of(model: &'a Model, output: &'a Output) -> Result<Self> {
        let flows = model.output_flows()?;
        if flows.iter().any(|flow| flow.tokens().is_some()) {
            return Err(Error::new(ErrorKind::Model, "expected layers that give features, got none"));
        }
        let axes = flows.first().map_or(0, |&flow| model.axes_of_flow(flow).len());
        let missing = (output.output.ndim() < axes).then_some(Dim::Batch);
        Ok(Self { model, output, flows, missing })
    }

    /// Returns the value of `port`, in its axes.
    pub(super) fn under(&self, port: &OutputPort) -> Result<Values> {
        let place = port.value.index();
        let (array, axes) = match &port.value {
            OutputValue::Largest(_) => {
                let (places, axes) = self.given(place)?.largest();
                return self.arranged(port, places, &axes).map(Values::I64);
            }
            OutputValue::Output | OutputValue::Another(_) => {
                let given = self.given(place)?;
                if port.axes.contains(&Dim::Directions) { given.parted()? } else { (given.array.clone(), given.axes) }
            }
            OutputValue::Direction(direction) => {
                let given = self.given(0)?;
                let (array, mut axes) = given.parted()?;
                let place = axes.len() - 2;
                axes.remove(place);
                if *direction >= given.parts[0] {
                    return Err(shape(format!("expected a direction below {}, got {direction}", given.parts[0])));
                }
                (array.index_axis_move(Axis(place), *direction), axes)
            }
            OutputValue::States { state, stacks } => self.states(*state, stacks)?,
        };
        self.arranged(port, array, &axes).map(Values::F32)
    }

    /// Changes the axes of `array` from `axes` to those of `port`.
    fn arranged<A: Clone>(&self, port: &OutputPort, array: ArrayD<A>, axes: &[Dim]) -> Result<ArrayD<A>> {
        let wanted: Vec<Dim> = port.axes.iter().copied().filter(|dim| Some(*dim) != self.missing).collect();
        for (dim, &length) in axes.iter().zip(array.shape()) {
            if length != 1 && !wanted.contains(dim) {
                let text = format!("has no axis {}, and so takes calls where it is 1, got {length}", letter(*dim, "F"));
                return Err(shape(text));
            }
        }
        let long: Vec<Dim> = wanted.iter().copied().filter(|dim| *dim != Dim::One).collect();
        let mut array = arrange(array, axes, &long);
        for place in wanted.iter().enumerate().filter(|(_, dim)| **dim == Dim::One).map(|(place, _)| place) {
            array.insert_axis_inplace(Axis(place));
        }
        Ok(array.as_standard_layout().into_owned())
    }

    /// Output `index` of the call, among those that are no final states.
    fn given(&self, index: usize) -> Result<PortSource<'_>> {
        let array = if index == 0 { Some(&self.output.output) } else { self.output.others.get(index - 1) };
        let (Some(array), Some(&flow)) = (array, self.flows.get(index)) else {
            let got = 1 + self.output.others.len();
            return Err(shape(format!("expected output {index} of the call, counted from 0, got {got} outputs")));
        };
        let (mut axes, features) = (self.model.axes_of_flow(flow), flow.features());
        axes.retain(|dim| Some(*dim) != self.missing);
        Ok(PortSource { array, axes, parts: [features.parts, features.size] })
    }

    /// The final states of `stacks`, concatenated.
    fn states(&self, state: State, stacks: &[usize]) -> Result<(ArrayD<f32>, Vec<Dim>)> {
        let one = |&stack: &usize| {
            let states = self.output.states.get(stack);
            let array = match state {
                State::Hidden => states.map(|states| &states.h),
                State::Cell => states.and_then(|states| states.c.as_ref()),
            };
            array.map(|array| array.view()).ok_or_else(|| {
                let count = self.model.stacks().count();
                shape(format!("expected states of stack {stack}, got {count} stacks without them"))
            })
        };
        let views = stacks.iter().map(one).collect::<Result<Vec<_>>>()?;
        let array = concatenate(Axis(0), &views).map_err(|e| shape(format!("the states: {e}")).because(e))?;
        let axes = [Dim::Layers, Dim::Batch, Dim::Features].into_iter().filter(|dim| Some(*dim) != self.missing);
        Ok((array, axes.collect()))
    }
}

impl PortSource<'_> {
    /// The index of the largest feature, or the first of equal ones. As everywhere, NaN is larger than any number.
    fn largest(&self) -> (ArrayD<i64>, Vec<Dim>) {
        let features = Axis(self.array.ndim() - 1);
        let places = self.array.map_axis(features, |row| {
            let mut best = 0;
            for (place, x) in row.iter().enumerate() {
                let greater = x.is_nan() && !row[best].is_nan() || *x > row[best];
                best = if greater { place } else { best };
            }
            i64::try_from(best).expect("a place among features")
        });
        (places, self.axes[..self.axes.len() - 1].to_vec())
    }

    /// The features with an axis for their directions.
    fn parted(&self) -> Result<(ArrayD<f32>, Vec<Dim>)> {
        let output = self.array.as_standard_layout().into_owned();
        let lengths: Vec<_> = output.shape()[..output.ndim() - 1].iter().copied().chain(self.parts).collect();
        let got = output.shape().to_vec();
        let array = output
            .into_shape_with_order(IxDyn(&lengths))
            .map_err(|e| shape(format!("expected {lengths:?} out of the model, got {got:?}")).because(e))?;
        let mut axes = self.axes.clone();
        axes.insert(axes.len() - 1, Dim::Directions);
        Ok((array, axes))
    }
}
