//! The table of operators, with the function that reads each.
//!
//! The only file that knows all operators; `table` says how their attributes are treated.

use super::graph::Operator;
use super::{across, branch, conv, dense, functions, moves, norms, numbers, order};
use super::{pad, powers, quantized, recurrent, tokens, windows};

/// All supported operators.
const OPERATORS: &[(&[&str], Operator)] = &[
    (&["RNN", "LSTM", "GRU", "DynamicQuantizeLSTM"], recurrent::recurrent),
    (&["QuantizeLinear"], quantized::quantize),
    (&["DequantizeLinear"], quantized::dequantize),
    (&["DynamicQuantizeLinear"], quantized::quantize_by_call),
    (&["MatMulInteger"], quantized::integer_product),
    (&["QLinearMatMul"], quantized::quantized_product),
    (&["QLinearAdd", "QLinearMul", "QLinearSigmoid"], quantized::quantized_function),
    (&["QGemm"], quantized::quantized_gemm),
    (&["MatMulIntegerToFloat", "DynamicQuantizeMatMul"], quantized::product_to_reals),
    (&["Gemm"], dense::gemm),
    (&["MatMul"], dense::matmul),
    (&["Add", "Sub", "Mul", "Div"], dense::arithmetic),
    (&["Sum", "Mean", "Max", "Min"], dense::of_many),
    (&["Gather"], tokens::gather),
    (&["OneHot"], tokens::one_hot),
    (&["TopK"], order::top_k),
    (&["ScatterElements", "Scatter"], order::scatter),
    (&["If"], branch::branch),
    (&["ArgMax"], functions::arg_max),
    (&["Less", "Greater", "LessOrEqual", "GreaterOrEqual"], numbers::compare),
    (&["And", "Or", "Xor", "Not"], numbers::logic),
    (&["ReverseSequence"], recurrent::reverse_sequence),
    (&["Transpose"], moves::transpose),
    (&["Squeeze"], moves::squeeze),
    (&["Unsqueeze"], moves::unsqueeze),
    (&["Reshape"], moves::reshape),
    (&["Flatten"], moves::flatten),
    (&["Concat"], moves::concat),
    (&["Slice"], moves::slice),
    (&["Split"], moves::split),
    (&["Expand"], moves::expand),
    (&["Tile"], moves::tile),
    (&["Identity", "Dropout", "Cast"], moves::identity),
    (&["Constant"], numbers::constant),
    (&["ConstantOfShape"], numbers::constant_of_shape),
    (&["Shape"], numbers::shape),
    (&["Size"], numbers::size),
    (&["Range"], numbers::range),
    (&["Equal"], numbers::equal),
    (&["Where"], numbers::choose),
    (&["Mod"], numbers::remainder),
    (&["ReduceProd"], numbers::reduce_prod),
    (&["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin"], across::reduce),
    (&["GlobalMaxPool", "GlobalAveragePool"], across::global_pool),
    (&["Conv"], conv::conv),
    (&["ConvInteger"], quantized::integer_conv),
    (&["QLinearConv"], quantized::quantized_conv),
    (&["Pad"], pad::pad),
    (&["MaxPool", "AveragePool"], windows::pool),
    (&["BatchNormalization"], norms::batch),
    (&["LayerNormalization", "RMSNormalization"], norms::layer),
    (&["LpNormalization"], norms::lp),
    (&["PRelu"], norms::prelu),
    (&["ReduceL2", "ReduceL1"], powers::length),
    (&["Sqrt", "Reciprocal"], powers::root),
    (&["Pow"], powers::power),
    (&["Softmax", "LogSoftmax"], functions::softmax),
    (&["Clip"], functions::clip),
    (&["Erf"], functions::erf),
    (&["Log"], functions::log),
    (&["Abs", "Ceil", "Cos", "Floor", "Round", "Sign", "Sin"], functions::of_constants),
    (&functions::FUNCTIONS, functions::function),
];

/// Returns the function that reads operator `name`, if it is supported.
pub(super) fn operator(name: &str) -> Option<Operator> {
    OPERATORS.iter().find(|(names, _)| names.contains(&name)).map(|(_, operator)| *operator)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::formats::onnx::table::ATTRIBUTES;
    use crate::formats::support::Treatment::Refused;

    #[test]
    fn the_table_lists_the_operators_that_are_read_and_no_others() {
        let listed = ATTRIBUTES.iter().filter(|a| a.name.is_empty() && a.treatment != Refused);
        let listed: Vec<&str> = listed.flat_map(|a| a.of.split(' ')).collect();
        let read: Vec<&str> = OPERATORS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        assert_eq!(listed.iter().collect::<BTreeSet<_>>(), read.iter().collect::<BTreeSet<_>>());
        assert_eq!(listed.len(), read.len());
    }
}
