//! `Gradients` → named tensors: each with the name and the axes of the tensor that it is the gradient of.

use std::collections::{BTreeMap, HashSet};

use ndarray::{ArrayD, Axis, IxDyn, arr1, concatenate};

use super::batch::Gradients;
use crate::error::{Error, Result};
use crate::model::{Dim, InputPort, InputValue, Model, State, groups_of};
use crate::named::{NamedTensors, Values, arrange};

impl Gradients {
    /// Names the loss and the gradients. The loss is `loss` `[1]`. `grad.NAME` is the gradient of each
    /// tensor of `model`, and of each float tensor of `given`: inputs and initial states, in their own axes.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Internal`](crate::ErrorKind::Internal)
    /// if these are no gradients of `model`.
    pub fn named(&self, model: &Model, given: &NamedTensors) -> Result<Vec<(String, Values)>> {
        #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is what a file holds")]
        let mut all = vec![("loss".to_owned(), Values::from(arr1(&[self.loss as f32])))];
        let mut seen = HashSet::new();
        for layer in &model.layers {
            for param in layer.kind.tensors() {
                let name = layer.prefix.clone() + &param.name;
                if let Some(gradient) = self.weights.get(&name).filter(|_| seen.insert(name.clone())) {
                    let array = ArrayD::from_shape_vec(IxDyn(&param.shape), gradient.clone());
                    let array = array.map_err(|e| Error::internal(format!("{name}: {e}")).because(e))?;
                    all.push((format!("grad.{name}"), Values::F32(array)));
                }
            }
        }
        let of_inputs = self.of_inputs(model, given)?;
        all.extend(of_inputs.into_iter().chain(self.of_states(model, given)?));
        Ok(all)
    }

    /// Names the gradients of feature inputs.
    fn of_inputs(&self, model: &Model, given: &NamedTensors) -> Result<Vec<(String, Values)>> {
        let (ports, inputs) = (model.all_ports(), model.all_inputs()?);
        let mut all = Vec::new();
        for port in &ports.inputs {
            let index = match port.value {
                InputValue::Sequence => model.main_input(),
                InputValue::Input(index) => index,
                _ => continue,
            };
            let is_given = matches!(given.get(&port.name), Some(Values::F32(_)));
            let input = inputs.get(index).filter(|_| is_given);
            let gradient = input.and_then(|input| Some((self.inputs.get(&input.name)?, input.kind.flow()?)));
            let Some((gradient, flow)) = gradient else { continue };
            let mut axes = model.axes_of_flow(flow);
            let mut gradient = gradient.clone();
            if !model.has_usual_axes() {
                let along = groups_of(flow).filter(|along| port.axes.contains(along));
                let place = along.and_then(|along| port.axes.iter().position(|dim| *dim == along));
                let groups = place.and_then(|place| given[&port.name].shape().get(place)).copied();
                if let (Some(along), Some(groups)) = (along, groups.filter(|groups| *groups > 0)) {
                    let (features, mut lengths) = (flow.features().len(), gradient.shape().to_vec());
                    lengths.pop();
                    lengths.extend([groups, features / groups]);
                    axes.insert(axes.len() - 1, along);
                    gradient = reshaped(&gradient, &lengths)?;
                }
                gradient = as_port(gradient, &axes, port);
            }
            all.push((format!("grad.{}", port.name), Values::F32(gradient)));
        }
        Ok(all)
    }

    /// Names the gradients of initial states. Several stacks may take theirs from one tensor: parts of it, or the same.
    fn of_states(&self, model: &Model, given: &NamedTensors) -> Result<Vec<(String, Values)>> {
        let ports = model.all_ports();
        let mut parts: BTreeMap<&str, (&InputPort, BTreeMap<usize, ArrayD<f32>>)> = BTreeMap::new();
        for port in ports.inputs.iter().filter(|port| given.contains_key(&port.name)) {
            let InputValue::State { stack, state, first } = port.value else { continue };
            let gradient = self.states.get(&stack).and_then(|states| match state {
                State::Hidden => Some(&states.h),
                State::Cell => states.c.as_ref(),
            });
            let Some(gradient) = gradient else { continue };
            let (_, rows) = parts.entry(&port.name).or_insert_with(|| (port, BTreeMap::new()));
            match rows.get_mut(&first) {
                Some(sum) => *sum += gradient,
                None => drop(rows.insert(first, gradient.clone())),
            }
        }
        let mut all = Vec::new();
        for (name, (port, rows)) in parts {
            let views: Vec<_> = rows.values().map(|array| array.view()).collect();
            let mut gradient =
                concatenate(Axis(0), &views).map_err(|e| Error::internal(format!("{name}: {e}")).because(e))?;
            if !model.has_usual_axes() {
                gradient = as_port(gradient, &[Dim::Layers, Dim::Batch, Dim::Features], port);
            }
            all.push((format!("grad.{name}"), Values::F32(gradient)));
        }
        Ok(all)
    }
}

/// Returns `array`, whose axes are `axes`, in the axes of `port`: each [`Dim::One`] gets length 1.
fn as_port(array: ArrayD<f32>, axes: &[Dim], port: &InputPort) -> ArrayD<f32> {
    let long: Vec<Dim> = port.axes.iter().copied().filter(|dim| *dim != Dim::One).collect();
    let mut array = arrange(array, axes, &long);
    for place in port.axes.iter().enumerate().filter(|(_, dim)| **dim == Dim::One).map(|(place, _)| place) {
        array.insert_axis_inplace(Axis(place));
    }
    array.as_standard_layout().into_owned()
}

fn reshaped(array: &ArrayD<f32>, lengths: &[usize]) -> Result<ArrayD<f32>> {
    let array = array.as_standard_layout().into_owned();
    array.into_shape_with_order(IxDyn(lengths)).map_err(|e| Error::internal(format!("a gradient: {e}")).because(e))
}
