//! The one sequence that a model takes and the one output that it gives: their names and their axes.

use ndarray::{ArrayD, Axis};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Dim, Direction, Flow, InputKind, InputPort, InputValue, LayerKind, Model, OutputValue, Pin, Value};
use crate::named::arrange;

/// Both ends of a model.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    /// What the model takes.
    pub(super) takes: Flow,
    /// What the model gives.
    pub(super) gives: Flow,
    /// The value of the output.
    pub(super) output: Value,
    /// The input of the lengths, if there is one.
    pub(super) lengths: Option<InputPort>,
    /// The input of the mask, if there is one.
    pub(super) mask: Option<InputPort>,
    sequence: InputPort,
    targets: String,
    target_axes: Vec<Dim>,
}

impl Ends {
    /// Finds the ends of `model`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model)
    /// if it takes more than one sequence, or gives more than one output.
    pub(super) fn of(model: &Model) -> Result<Self> {
        model.check()?;
        let takes = model.input()?;
        let inputs = model.all_inputs()?;
        let others = inputs.iter().filter(|input| !matches!(input.kind, InputKind::State(_))).count();
        let ports = model.all_ports();
        let sequence = ports.inputs.iter().find(|port| port.value == InputValue::Sequence);
        let (1, Some(sequence)) = (others, sequence) else {
            return Err(wrong(format!("expected a model of one input, got {others}")));
        };
        let (values, flows) = (model.feature_outputs(), model.output_flows()?);
        let ([output], [gives]) = (&values[..], &flows[..]) else {
            return Err(wrong(format!("expected a model of one output, got {}", flows.len())));
        };
        let lengths = ports.inputs.iter().find(|port| matches!(port.value, InputValue::Lengths(_)));
        let mask = ports.inputs.iter().find(|port| matches!(port.value, InputValue::Mask(_)));
        let port = ports.outputs.iter().find(|port| port.value == OutputValue::Output);
        let targets = match (port, ports.inputs.iter().any(|port| port.name == "y")) {
            (Some(port), true) => format!("y_{}", port.name),
            _ => "y".to_owned(),
        };
        let target_axes = port.map_or_else(|| model.axes_of_flow(*gives), |port| port.axes.clone());
        Ok(Self {
            takes,
            gives: *gives,
            output: *output,
            lengths: lengths.cloned(),
            mask: mask.cloned(),
            sequence: sequence.clone(),
            targets,
            target_axes,
        })
    }

    /// Returns `array` as the model's input, under its name and in its axes.
    pub(super) fn taken<A: Clone>(&self, array: ArrayD<A>, axes: &[Dim]) -> (String, ArrayD<A>) {
        (self.sequence.name.clone(), placed(array, axes, &self.sequence.axes))
    }

    /// Returns `array` as the targets of the output, under their name and
    /// in the axes of the output, without features unless `axes` has them.
    pub(super) fn target<A: Clone>(&self, array: ArrayD<A>, axes: &[Dim]) -> (String, ArrayD<A>) {
        let is_feature = |dim: &Dim| matches!(dim, Dim::Features | Dim::Directions);
        let keeps = axes.contains(&Dim::Features);
        let wanted: Vec<Dim> = self.target_axes.iter().copied().filter(|dim| keeps || !is_feature(dim)).collect();
        (self.targets.clone(), placed(array, axes, &wanted))
    }

    /// Returns the name of the targets.
    pub(super) fn targets(&self) -> &str {
        &self.targets
    }
}

/// Refuses a model in which a step has seen later ones: it would copy what it is to predict.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model),
/// with the layer, if a stack does not go forward.
pub(super) fn foresees(model: &Model) -> Result<()> {
    for (index, layer) in model.layers.iter().enumerate() {
        let LayerKind::Recurrent(stack) = &layer.kind else { continue };
        let is_final = |value: &Value| matches!(value, Value::Layer(_, Pin::Hidden | Pin::Cell));
        let got = match stack.direction {
            _ if layer.initial.iter().flatten().any(is_final) => "one that begins where another ended",
            Direction::Forward => continue,
            Direction::Both => "a bidirectional one",
            Direction::Reverse => "a reverse one",
            Direction::Backwards => "a backwards one",
        };
        let name = layer.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let text = format!("layer {index}{name}: expected a forward stack, got {got}");
        return Err(wrong(text).hint("each step is to foresee what comes after it, and would have read that"));
    }
    Ok(())
}

/// Returns `array`, whose axes are `axes`, in the axes `wanted`.
pub(super) fn placed<A: Clone>(array: ArrayD<A>, axes: &[Dim], wanted: &[Dim]) -> ArrayD<A> {
    let long: Vec<Dim> = wanted.iter().copied().filter(|dim| *dim != Dim::One).collect();
    let mut array = arrange(array, axes, &long);
    for (index, _) in wanted.iter().enumerate().filter(|(_, dim)| **dim == Dim::One) {
        array.insert_axis_inplace(Axis(index));
    }
    array.as_standard_layout().into_owned()
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Model, text)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::model::Axes;
    use crate::{Gru, Linear};

    const ALL: [Dim; 3] = [Dim::Batch, Dim::Time, Dim::Features];

    #[test]
    fn what_goes_in_stands_in_the_axes_of_the_model() {
        let model = Model::new().layer(Gru::new(2, 4)).layer(Linear::new(4, 1));
        let x = Array3::from_shape_fn((3, 5, 2), |(b, t, f)| 100 * b + 10 * t + f).into_dyn();
        for (axes, shape, place) in [(Axes::BatchFirst, [3, 5, 2], [2, 4, 1]), (Axes::TimeMajor, [5, 3, 2], [4, 2, 1])]
        {
            let ends = Ends::of(&model.clone().axes(axes)).unwrap();
            for (wanted, (name, array)) in [("x", ends.taken(x.clone(), &ALL)), ("y", ends.target(x.clone(), &ALL))] {
                assert_eq!((name.as_str(), array.shape(), array[place]), (wanted, &shape[..], 241));
            }
            let classes = ends.target(x.clone().index_axis_move(Axis(2), 0), &ALL[..2]).1;
            assert_eq!((classes.shape(), classes[&place[..2]]), (&shape[..2], 240));
        }
    }

    #[test]
    fn a_stack_that_has_read_what_comes_is_refused() {
        let plain = Model::new().layer(Gru::new(2, 4));
        assert!(foresees(&plain).is_ok());
        for (stack, said) in [
            (Gru::new(4, 4).bidirectional(), "layer 1: expected a forward stack, got a bidirectional one; each"),
            (Gru::new(4, 4).direction(Direction::Reverse), "layer 1: expected a forward stack, got a reverse one"),
        ] {
            let error = foresees(&plain.clone().layer(stack)).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
