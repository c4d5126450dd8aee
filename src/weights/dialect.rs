//! PyTorch's names for the canonical tensors `w_x, w_h, b_x, b_h, w_r` of a cell, and of the layers around it.
//!
//! PyTorch's gate order is ours (`cell.rs`), so that names are all there is to translate. Knows no model.

/// The name of a table or a linear layer's product.
pub(super) const WEIGHT: &str = "weight";

/// The name of a linear layer's bias.
pub(super) const BIAS: &str = "bias";

/// A tensor of a cell, by its canonical name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The input product.
    WX,
    /// The recurrent product.
    WH,
    /// The input product's bias.
    BX,
    /// The recurrent product's bias.
    BH,
    /// The projection.
    WR,
    /// The peepholes.
    Peepholes,
}

/// The way a cell goes through a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// First step to last.
    Forward,
    /// Last step to first.
    Reverse,
}

/// PyTorch's name of `part` of layer `stacked` of a stack: `weight_hh_l0_reverse`.
pub(super) fn cell_tensor(part: Part, stacked: usize, way: Way) -> String {
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
