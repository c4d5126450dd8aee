//! `Output` → named tensors: what each port names, in its axes.
//!
//! Knows ports and calls; knows no weights.

use ndarray::{ArrayD, Axis, IxDyn, concatenate};

use super::{arrange, letter, shape};
use crate::call::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Dim, Flow, Model, OutputPort, OutputValue, State};

/// What a call gave, and in which axes.
pub(super) struct Results<'a> {
    model: &'a Model,
    output: &'a Output,
    /// What flows out of the model, as features: those of `output.output`, and of its others.
    flows: Vec<Flow>,
    /// The axis that the call had none of.
    missing: Option<Dim>,
}

/// Features that a call gave, as they stand.
struct Given<'a> {
    array: &'a ArrayD<f32>,
    axes: Vec<Dim>,
    /// What stands side by side in its features.
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

    /// What `port` names, in its axes.
    pub(super) fn under(&self, port: &OutputPort) -> Result<ArrayD<f32>> {
        let place = if let OutputValue::Another(index) = port.value { index } else { 0 };
        let (array, axes) = match &port.value {
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
        let wanted: Vec<Dim> = port.axes.iter().copied().filter(|dim| Some(*dim) != self.missing).collect();
        for (dim, &length) in axes.iter().zip(array.shape()) {
            if length != 1 && !wanted.contains(dim) {
                let text = format!("has no axis {}, and so takes calls where it is 1, got {length}", letter(*dim, "F"));
                return Err(shape(text));
            }
        }
        let long: Vec<Dim> = wanted.iter().copied().filter(|dim| *dim != Dim::One).collect();
        let mut array = arrange(array, &axes, &long);
        for place in wanted.iter().enumerate().filter(|(_, dim)| **dim == Dim::One).map(|(place, _)| place) {
            array.insert_axis_inplace(Axis(place));
        }
        Ok(array.as_standard_layout().into_owned())
    }

    /// The output of that place among those that are no final states.
    fn given(&self, index: usize) -> Result<Given<'_>> {
        let array = if index == 0 { Some(&self.output.output) } else { self.output.others.get(index - 1) };
        let (Some(array), Some(&flow)) = (array, self.flows.get(index)) else {
            let got = 1 + self.output.others.len();
            return Err(shape(format!("expected output {index} of the call, counted from 0, got {got} outputs")));
        };
        let (mut axes, features) = (self.model.axes_of_flow(flow), flow.features());
        axes.retain(|dim| Some(*dim) != self.missing);
        Ok(Given { array, axes, parts: [features.parts, features.size] })
    }

    /// The final states of `stacks`, one after the other.
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

impl Given<'_> {
    /// The features with their directions apart.
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
