//! How long the axes of a port are, as far as the model tells: for callers who list inputs and outputs.

use super::{Dim, InputPort, InputValue, OutputPort, OutputValue, Ports};
use crate::error::Result;
use crate::model::flow::Features;
use crate::model::{LayerKind, Model, Recurrent};

impl Model {
    /// Returns the length of each axis of an input of [`all_ports`](Self::all_ports). It is none where a call decides
    /// it: steps, rows, and the groups of a row's features.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Lstm, Model};
    ///
    /// let model = Model::new().layer(Lstm::new(3, 8).num_layers(2));
    /// let ports = model.all_ports();
    /// assert_eq!(model.input_dims(&ports.inputs[0])?, [None, None, Some(3)]); // x
    /// assert_eq!(model.output_dims(&ports.outputs[1])?, [Some(2), None, Some(8)]); // h_n
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    pub fn input_dims(&self, port: &InputPort) -> Result<Vec<Option<usize>>> {
        let features = |index: usize| -> Result<Option<usize>> {
            let flow = self.all_inputs()?.get(index).and_then(|input| input.kind.flow());
            Ok(flow.map(|flow| flow.features().len()))
        };
        let (layers, size) = match port.value {
            InputValue::Weights { layer, part } => {
                return Ok(match self.layers.get(layer).map(|layer| &layer.kind) {
                    Some(LayerKind::Recurrent(stack)) => part.shape(stack).into_iter().map(Some).collect(),
                    _ => vec![None; port.axes.len()],
                });
            }
            // The features of a row may be in groups, of any number.
            InputValue::Input(_) if port.axes.contains(&Dim::Layers) => (None, None),
            InputValue::Sequence => (None, features(self.main_input())?),
            InputValue::Input(index) => (None, features(index)?),
            InputValue::Lengths(_) | InputValue::Mask(_) => (None, None),
            InputValue::State { stack, state, .. } => {
                let size = self.stacks().nth(stack).map(|stack| state.size(stack));
                (Some(self.state_rows(&port.name, &self.all_ports())), size)
            }
        };
        Ok(lengths(&port.axes, layers, None, size))
    }

    /// Returns the length of each axis of an output of [`all_ports`](Self::all_ports), as
    /// [`input_dims`](Self::input_dims) does.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other.
    pub fn output_dims(&self, port: &OutputPort) -> Result<Vec<Option<usize>>> {
        if let OutputValue::States { state, stacks } = &port.value {
            let own: Vec<&Recurrent> = stacks.iter().filter_map(|stack| self.stacks().nth(*stack)).collect();
            let rows = own.iter().map(|stack| rows_of(stack)).fold(0, usize::saturating_add);
            return Ok(lengths(&port.axes, Some(rows), None, own.first().map(|stack| state.size(stack))));
        }
        let flow = self.output_flows()?.get(port.value.index()).copied();
        let Features { parts, size } = flow.map_or(Features { parts: 0, size: 0 }, |flow| flow.features());
        let is_parted = port.axes.contains(&Dim::Directions) || matches!(port.value, OutputValue::Direction(_));
        Ok(lengths(&port.axes, None, Some(parts), Some(if is_parted { size } else { parts.saturating_mul(size) })))
    }

    /// Returns how many rows of layers and directions the tensor `name` of initial states has. Several stacks may
    /// take theirs from one tensor.
    fn state_rows(&self, name: &str, ports: &Ports) -> usize {
        let ends = ports.inputs.iter().filter(|port| port.name == name).filter_map(|port| match port.value {
            InputValue::State { stack, first, .. } => {
                Some(first.saturating_add(self.stacks().nth(stack).map_or(0, rows_of)))
            }
            _ => None,
        });
        ends.max().unwrap_or(0)
    }
}

/// Returns the layers of a stack times its directions.
fn rows_of(stack: &Recurrent) -> usize {
    stack.num_layers.saturating_mul(stack.directions())
}

/// Returns the length of each of `axes`.
fn lengths(
    axes: &[Dim],
    layers: Option<usize>,
    directions: Option<usize>,
    features: Option<usize>,
) -> Vec<Option<usize>> {
    let length = |axis: &Dim| match axis {
        Dim::Time | Dim::Batch => None,
        Dim::Features => features,
        Dim::Directions => directions,
        Dim::Layers => layers,
        Dim::One => Some(1),
    };
    axes.iter().map(length).collect()
}
