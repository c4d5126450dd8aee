//! The parameters of a recurrent stack, cell by cell, and PyTorch's names for them.

use super::{Bias, Direction, Initial, Recurrent};
use crate::cell::{Cell, Coupling, Peepholes};
use crate::model::layer::param::{Init, Law, Param, Role};

/// The name of the learned initial hidden states.
pub(crate) const INITIAL_HIDDEN: &str = "h_0";

/// The name of the learned initial cell states.
pub(crate) const INITIAL_CELL: &str = "c_0";

/// A tensor of a cell, by its canonical name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The matrix of the input product.
    WX,
    /// The matrix of the recurrent product.
    WH,
    /// The input product's bias.
    BX,
    /// The recurrent product's bias.
    BH,
    /// The matrix of the projection.
    WR,
    /// The peepholes.
    Peepholes,
}

/// The order in which a cell computes a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// First step to last.
    Forward,
    /// Last step to first.
    Reverse,
}

/// Returns PyTorch's name of `part` of layer `stacked` of a stack: `weight_hh_l0_reverse`.
pub(crate) fn cell_tensor(part: Part, stacked: usize, way: Way) -> String {
    let word = match part {
        Part::WX => "weight_ih",
        Part::WH => "weight_hh",
        Part::BX => "bias_ih",
        Part::BH => "bias_hh",
        Part::WR => "weight_hr",
        Part::Peepholes => "weight_ch",
    };
    let suffix = match way {
        Way::Forward => "",
        Way::Reverse => "_reverse",
    };
    format!("{word}_l{stacked}{suffix}")
}

impl Direction {
    /// Returns the ways of the directions of a stack, in the order of its weights.
    pub(crate) fn ways(self) -> &'static [Way] {
        match self {
            Self::Forward => &[Way::Forward],
            Self::Reverse | Self::Backwards => &[Way::Reverse],
            Self::Both => &[Way::Forward, Way::Reverse],
        }
    }
}

impl Recurrent {
    /// Returns the cells: layer-major, forward before reverse.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (usize, Way)> + use<> {
        let ways = self.direction.ways();
        (0..self.num_layers).flat_map(move |stacked| ways.iter().map(move |&way| (stacked, way)))
    }

    /// Returns the parameters of the cell of layer `stacked` in way `way`.
    pub(crate) fn of_cell(&self, stacked: usize, way: Way) -> impl Iterator<Item = Param> + use<> {
        let (units, inputs) = (self.hidden_size, self.layer_input(stacked).len());
        let rows = self.cell.gates().saturating_mul(units);
        // Gives the part if it is there, with its law in Keras. PyTorch draws all parts by the same law.
        let there = |is: bool, part, role, shape, keras| is.then_some((part, role, shape, keras));
        let parts = [
            // The fans are those of all gates as one matrix.
            there(true, Part::WX, Role::Matrix, vec![rows, inputs], Law::glorot(inputs, rows)),
            there(true, Part::WH, Role::Recurrent, vec![rows, self.state_size()], Law::Orthogonal),
            there(self.bias != Bias::None, Part::BX, Role::Bias, vec![rows], self.keras_bias()),
            there(self.bias == Bias::Two, Part::BH, Role::Bias, vec![rows], Law::Zero),
            // Keras has no projection: this is its law for a dense layer's kernel.
            self.proj_size.map(|size| (Part::WR, Role::Projection, vec![size, units], Law::glorot(units, size))),
            // As tf.keras.experimental.PeepholeLSTMCell: the kernel's law, for three vectors whose fans are H and H.
            there(
                self.peepholes != Peepholes::None,
                Part::Peepholes,
                Role::Diagonal,
                vec![3, units],
                Law::glorot(units, units),
            ),
        ];
        let param = move |(part, role, shape, keras)| Param {
            name: cell_tensor(part, stacked, way),
            shape,
            role,
            init: Init::of_terms(units, keras),
        };
        parts.into_iter().flatten().map(param)
    }

    /// Returns the bias in Keras before any training: one for an LSTM's forget gate
    /// (`unit_forget_bias`), zero elsewhere. A forget gate that is 1 − i does not use its bias.
    fn keras_bias(&self) -> Law {
        match (self.cell, self.coupling) {
            (Cell::Lstm, Coupling::Apart) => Law::OneAt { first: self.hidden_size, count: self.hidden_size },
            _ => Law::Zero,
        }
    }

    /// Returns the learned states, hidden and cell, each `[L · D, size]`.
    pub(crate) fn learned(&self) -> impl Iterator<Item = Param> + use<> {
        let rows = self.num_layers.saturating_mul(self.directions());
        let is = self.initial == Initial::Learned;
        let states = [
            is.then_some((INITIAL_HIDDEN, self.state_size())),
            (is && self.cell.states() > 1).then_some((INITIAL_CELL, self.hidden_size)),
        ];
        // Neither PyTorch nor Keras has them. A training begins at zero, as a stack without them does.
        let init = Init { torch: Law::Zero, ..Init::of_terms(self.hidden_size, Law::Zero) };
        let param = move |(name, size): (&str, _)| Param {
            name: name.into(),
            shape: vec![rows, size],
            role: Role::State,
            init,
        };
        states.into_iter().flatten().map(param)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::layer::param::count;
    use crate::model::{Gru, LayerKind, Linear, Lstm, Recurrent, Rnn};

    #[test]
    fn parameters_are_the_elements_of_the_table() {
        let lstm = || Lstm::new(5, 8);
        let kinds: [LayerKind; 6] = [
            Linear::new(3, 4).into(),
            Rnn::new(2, 3).into(),
            lstm().num_layers(3).bidirectional().proj_size(2).learned_states().into(),
            lstm().peepholes().num_layers(2).into(),
            Gru::new(4, 3).num_layers(2).learned_states().into(),
            Gru::new(4, 3).num_layers(0).into(),
        ];
        for kind in &kinds {
            assert_eq!(kind.parameters(), count(kind.tensors()), "{kind}");
        }
    }

    #[test]
    fn more_layers_than_could_be_listed_are_counted() {
        let stack: Recurrent = Rnn::new(1, 1).num_layers(usize::MAX);
        assert_eq!(LayerKind::from(stack).parameters(), usize::MAX);
    }

    #[test]
    fn names_and_shapes_are_those_of_pytorch() {
        let kind = LayerKind::from(Lstm::new(3, 2).bidirectional().proj_size(1).learned_states());
        let table: Vec<_> = kind.tensors().map(|param| (param.name, param.shape)).collect();
        let own = |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec());
        assert_eq!(table[..3], [own("weight_ih_l0", &[8, 3]), own("weight_hh_l0", &[8, 1]), own("bias_ih_l0", &[8]),]);
        assert_eq!(
            table[8..],
            [
                own("bias_hh_l0_reverse", &[8]),
                own("weight_hr_l0_reverse", &[1, 2]),
                own("h_0", &[2, 1]),
                own("c_0", &[2, 2]),
            ]
        );
    }
}
