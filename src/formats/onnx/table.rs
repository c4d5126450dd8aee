//! What becomes of each operator of ONNX and each of its attributes: obeyed by `node`, printed in docs/formats.md.

use crate::formats::support::Attribute;
use crate::formats::support::Treatment::{self, Identity, Refused, Supported};

const fn row(of: &'static str, name: &'static str, treatment: Treatment, note: &'static str) -> Attribute {
    Attribute { of, name, treatment, note }
}

/// Every operator (without a name of an attribute) and attribute that is known.
pub const ATTRIBUTES: &[Attribute] = &[
    row("RNN LSTM GRU", "", Supported, "all inputs and outputs, each left out or there"),
    row("RNN LSTM GRU", "direction", Supported, "forward, reverse, bidirectional"),
    row("RNN LSTM GRU", "hidden_size", Supported, "must be what R has"),
    row("RNN LSTM GRU", "layout", Supported, "0, 1"),
    row("RNN LSTM GRU", "activations", Supported, "all 11 functions of the specification, for each direction"),
    row(
        "RNN LSTM GRU",
        "activation_alpha",
        Supported,
        "taken in order by the functions that have an alpha; where there are too few, the default of the operator of that name",
    ),
    row("RNN LSTM GRU", "activation_beta", Supported, "so too by the functions that have a beta"),
    row("RNN LSTM GRU", "clip", Supported, ""),
    row("RNN LSTM GRU", "output_sequence", Identity, "of versions before 7: Y is there where the node names it"),
    row("LSTM", "input_forget", Supported, "0, 1"),
    row("GRU", "linear_before_reset", Supported, "0, 1"),
    row(
        "Gather",
        "",
        Supported,
        "tokens of an input in a table of weights; constant indices: directions, features, the first or last step; shapes",
    ),
    row("Gather", "axis", Supported, "0 for tokens"),
    row("Less Not", "", Supported, "of tokens, where negative ones are counted from the end"),
    row("ReverseSequence", "", Supported, "all steps, before an LSTM, GRU or RNN that goes forward"),
    row("ReverseSequence", "time_axis batch_axis", Supported, ""),
    row("OneHot", "", Supported, "tokens of an input, values 0 and 1"),
    row("OneHot", "axis", Supported, "the last"),
    row("Gemm", "", Supported, "a sequence times weights"),
    row("Gemm", "alpha", Supported, ""),
    row("Gemm", "beta", Supported, ""),
    row("Gemm", "transA", Refused, "but 0"),
    row("Gemm", "transB", Supported, "0, 1"),
    row("MatMul", "", Supported, "a sequence times weights of one or two axes"),
    row(
        "Add Sub Mul Div",
        "",
        Supported,
        "shapes; weights; a bias after a product; a number; an input times or plus a number or a vector of its features; both directions of a layer added or multiplied; `x · f(x)` that is a SiLU, hard SiLU, Mish or Gelu; `x − tanh(x)`",
    ),
    row("Add Sub Mul Div", "axis", Refused, "of versions before 7"),
    row("Add Sub Mul Div", "broadcast", Refused, "of versions before 7"),
    row("Transpose", "", Supported, ""),
    row("Transpose", "perm", Supported, ""),
    row("Squeeze Unsqueeze", "", Supported, "an axis of length 1"),
    row("Squeeze Unsqueeze", "axes", Supported, "before version 13; an input since"),
    row(
        "Reshape",
        "",
        Supported,
        "axes joined and split: directions and features, layers and directions, time and batch",
    ),
    row("Reshape", "allowzero", Supported, "0, 1"),
    row("Flatten", "", Supported, "as Reshape"),
    row("Flatten", "axis", Supported, ""),
    row("Concat", "", Supported, "directions, features or final states of layers; shapes; weights"),
    row("Concat", "axis", Supported, ""),
    row("Slice", "", Supported, "directions, layers, features, the first or last step; shapes; weights"),
    row("Slice", "starts", Supported, "before version 10; an input since"),
    row("Slice", "ends", Supported, "before version 10; an input since"),
    row("Slice", "axes", Supported, "before version 10; an input since"),
    row("Split", "", Supported, "directions, layers, features; weights"),
    row("Split", "axis", Supported, ""),
    row("Split", "split", Supported, "before version 13; an input since"),
    row("Split", "num_outputs", Supported, ""),
    row("Expand Tile", "", Supported, "numbers; initial states of the file, repeated for each row"),
    row("Identity", "", Identity, ""),
    row("Dropout", "", Identity, "at inference; its mask is not there"),
    row("Dropout", "ratio", Identity, ""),
    row("Dropout", "seed", Identity, ""),
    row("Cast", "", Supported, "shapes, tokens and reals: reals have 32 bits here, whatever their type there"),
    row("Cast", "to", Supported, ""),
    row("Cast", "saturate", Identity, "of 8-bit reals, which are not read"),
    row("Cast", "round_mode", Identity, "of 8-bit reals, which are not read"),
    row("Constant", "", Supported, ""),
    row("Constant", "value", Supported, ""),
    row("Constant", "value_int", Supported, ""),
    row("Constant", "value_ints", Supported, ""),
    row("Constant", "value_float", Supported, ""),
    row("Constant", "value_floats", Supported, ""),
    row("Constant", "value_string", Refused, "no text is read"),
    row("Constant", "value_strings", Refused, "no text is read"),
    row("Constant", "sparse_value", Refused, "no sparse tensor is read"),
    row("ConstantOfShape", "", Supported, "zeros as initial states; shapes"),
    row("ConstantOfShape", "value", Supported, ""),
    row("Shape", "", Supported, "of any value: done when the file is read, for whatever sizes a call has"),
    row("Shape", "start", Supported, ""),
    row("Shape", "end", Supported, ""),
    row("Size Range Where", "", Supported, "of shapes"),
    row("Range", "stash_type", Identity, "of 16-bit reals; numbers of a shape are whole"),
    row("Equal", "", Supported, "of shapes; tokens of an input with 0, 1, 2, …, which is a OneHot"),
    row("ReduceProd", "", Supported, "of shapes"),
    row("ReduceProd", "axes", Supported, "before version 18; an input since"),
    row("ReduceProd", "keepdims", Supported, "0, 1"),
    row("ReduceProd", "noop_with_empty_axes", Supported, "0, 1"),
    row("Softmax LogSoftmax", "", Supported, "over the features"),
    row("Softmax LogSoftmax", "axis", Supported, "the features"),
    row("Sigmoid Tanh Relu Softplus Softsign HardSwish Mish Exp Neg", "", Supported, ""),
    row("Log", "", Supported, "of a sigmoid or a softmax"),
    row("LeakyRelu Elu Celu ThresholdedRelu HardSigmoid Selu", "", Supported, ""),
    row("LeakyRelu Elu Celu ThresholdedRelu HardSigmoid Selu", "alpha", Supported, ""),
    row("HardSigmoid", "beta", Supported, ""),
    row("Selu", "gamma", Supported, ""),
    row("Gelu", "", Supported, ""),
    row("Gelu", "approximate", Supported, "none, tanh"),
    row("Swish", "", Supported, ""),
    row("Swish", "alpha", Refused, "but 1"),
    row("Shrink", "", Supported, ""),
    row("Shrink", "lambd", Supported, ""),
    row("Shrink", "bias", Supported, "0 or lambd"),
    row("Erf", "", Supported, "in `x / 2 · (1 + erf(x / √2))`, which is a Gelu"),
    row("Clip", "", Supported, ""),
    row("Clip", "min", Supported, "before version 11; an input since"),
    row("Clip", "max", Supported, "before version 11; an input since"),
    row("ReduceSum ReduceMean", "", Supported, "of both directions of a layer"),
    row("ReduceSum ReduceMean", "axes", Supported, "the directions; an input since version 13 and 18"),
    row("ReduceSum ReduceMean", "keepdims", Supported, "0, 1"),
    row("ReduceSum ReduceMean", "noop_with_empty_axes", Identity, "there must be axes"),
    row("ReduceMax", "", Refused, "no layer here pools"),
    row("ArgMax TopK", "", Refused, "outputs are what layers give"),
    row("LayerNormalization BatchNormalization", "", Refused, "no layer here normalizes"),
    row("Conv", "", Refused, "no layer here convolves"),
    row(
        "QuantizeLinear DequantizeLinear DynamicQuantizeLinear MatMulInteger",
        "",
        Refused,
        "quantized models are not read: convert the one they were made from",
    ),
    row(
        "Loop Scan If",
        "",
        Refused,
        "graphs inside of graphs are not read; Keras 3 writes GRU, SimpleRNN and masked LSTM so: give the .keras file itself",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_is_of_operators_that_are_listed() {
        for a in ATTRIBUTES.iter().filter(|a| !a.name.is_empty()) {
            for (of, name) in a.of.split(' ').flat_map(|of| a.name.split(' ').map(move |name| (of, name))) {
                assert!(ATTRIBUTES.iter().any(|b| b.is(of, "")), "{of} {name}");
                assert_eq!(ATTRIBUTES.iter().filter(|b| b.is(of, name)).count(), 1, "{of} {name}");
            }
        }
    }
}
