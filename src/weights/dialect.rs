//! Gate orders: ONNX tensors of a stack under PyTorch's names, which are those of a layer's table of parameters.
//!
//! PyTorch's gate order is ours (`cell.rs`); ONNX has another. Knows stacks; knows no file.

use super::tensor::Tensor;
use crate::cell::Cell;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Recurrent, WeightPart};

pub(crate) use crate::model::{BIAS, INITIAL_HIDDEN, Part, WEIGHT, Way, cell_tensor};

/// Where ONNX has each of our gates. Its order is input, output, forget, cell for an
/// LSTM, and update, reset, new for a GRU.
fn onnx_gates(cell: Cell) -> &'static [usize] {
    match cell {
        Cell::Rnn => &[0],
        Cell::Lstm => &[0, 2, 3, 1],
        Cell::Gru(_) => &[1, 0, 2],
    }
}

/// Where ONNX has each of our peepholes. Its order is input, output, forget.
const ONNX_PEEPHOLES: [usize; 3] = [0, 2, 1];

/// Splits the ONNX tensor `part` of a stack of one layer into tensors with PyTorch's names. Their
/// elements are cut out when they are read.
///
/// # Shapes
///
/// `W` `[D, G·H, I]`, `R` `[D, G·H, H]`, `B` `[D, 2·G·H]` (those of `W`, then those of `R`), `P` `[D, 3·H]`.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Weights` if `tensor` has another shape.
pub(crate) fn from_onnx(stack: &Recurrent, part: WeightPart, tensor: &Tensor) -> Result<Vec<(String, Tensor)>> {
    let wanted = part.shape(stack);
    if tensor.shape() != wanted {
        let text = format!("expected {wanted:?}, got {:?}", tensor.shape());
        return Err(Error::new(ErrorKind::Weights, text));
    }
    let (hidden, gates) = (stack.hidden_size, onnx_gates(stack.cell));
    let rows = gates.len() * hidden;
    // For each direction: names, shapes, the length of a gate, the order of gates, and where they begin.
    let pieces = match part {
        WeightPart::Input => {
            vec![(Part::WX, vec![rows, stack.input_size], hidden.saturating_mul(stack.input_size), gates, 0)]
        }
        WeightPart::Recurrent => vec![(Part::WH, vec![rows, hidden], hidden.saturating_mul(hidden), gates, 0)],
        WeightPart::Bias => {
            vec![(Part::BX, vec![rows], hidden, gates, 0), (Part::BH, vec![rows], hidden, gates, rows)]
        }
        WeightPart::Peepholes => vec![(Part::Peepholes, vec![3, hidden], hidden, &ONNX_PEEPHOLES[..], 0)],
    };
    let each = wanted[1..].iter().fold(1, |product: usize, &n| product.saturating_mul(n));
    let mut tensors = Vec::new();
    for (direction, &way) in stack.direction.ways().iter().enumerate() {
        for (part, shape, length, gates, first) in pieces.clone() {
            let first = direction.saturating_mul(each).saturating_add(first);
            let begin = |&gate: &usize| first.saturating_add(length.saturating_mul(gate));
            let runs = gates.iter().map(begin).map(|begin| begin..begin.saturating_add(length)).collect();
            tensors.push((cell_tensor(part, 0, way), tensor.clone().runs(shape, runs)));
        }
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Direction, Gru, Lstm};

    /// A tensor of `part` whose elements are their own indices.
    fn counted(stack: &Recurrent, part: WeightPart) -> Tensor {
        let shape = part.shape(stack);
        let len: usize = shape.iter().product();
        Tensor::new(shape, (0..len).map(|i| i as f32).collect())
    }

    fn cut(stack: &Recurrent, part: WeightPart) -> Vec<(String, Vec<f32>)> {
        let tensors = from_onnx(stack, part, &counted(stack, part)).unwrap();
        tensors.into_iter().map(|(name, tensor)| (name, tensor.read().unwrap().into_owned())).collect()
    }

    #[test]
    fn onnx_gates_are_put_in_our_order() {
        // i o f c of two units, one feature.
        let lstm = Lstm::new(1, 2).bidirectional().peepholes();
        let names = |part| cut(&lstm, part).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(WeightPart::Bias), ["bias_ih_l0", "bias_hh_l0", "bias_ih_l0_reverse", "bias_hh_l0_reverse"]);
        let input = cut(&lstm, WeightPart::Input);
        assert_eq!(input[0].1, [0.0, 1.0, 4.0, 5.0, 6.0, 7.0, 2.0, 3.0]);
        assert_eq!(input[1].1, [8.0, 9.0, 12.0, 13.0, 14.0, 15.0, 10.0, 11.0]);
        assert_eq!(cut(&lstm, WeightPart::Bias)[3].1[..2], [24.0, 25.0]);
        // i o f become i f o.
        assert_eq!(cut(&lstm, WeightPart::Peepholes)[0].1, [0.0, 1.0, 4.0, 5.0, 2.0, 3.0]);
        // z r h become r z n.
        let gru = Gru::new(3, 1).direction(Direction::Reverse);
        let recurrent = cut(&gru, WeightPart::Recurrent);
        assert_eq!(recurrent, [("weight_hh_l0_reverse".to_owned(), vec![1.0, 0.0, 2.0])]);
        assert_eq!(cut(&gru, WeightPart::Bias)[1].1, [4.0, 3.0, 5.0]);
    }

    #[test]
    fn a_tensor_of_another_shape_is_refused() {
        let error = from_onnx(&Lstm::new(3, 2), WeightPart::Input, &Tensor::new([1, 8, 2], vec![0.0; 16])).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Weights, "expected [1, 8, 3], got [1, 8, 2]".into()));
    }
}
