//! What is known about the tensors between nodes, before any node is evaluated: their types, and lengths of their axes.
//!
//! A file may tell them. Else they follow from weights and attributes: forward from the inputs, and backward from the
//! recurrent nodes. Knows operators by name; knows no meaning of a value.

use std::collections::HashMap;

use super::constant::{Decoded, MAX_RANK, decode};
use super::proto::{Attribute, Dimension, Graph, Node, TensorShape, TensorType};
use super::source::Sources;
use super::uses::RECURRENT;

const FLOAT: i32 = 1;
const INT32: i32 = 6;
const INT64: i32 = 7;

/// Operators whose result has the axes of their first input.
const ALIKE: &str = "Abs BatchNormalization Cast Celu Ceil Clip Cos CumSum DequantizeLinear Dropout Elu Erf Exp Floor Gelu \
    GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization LRN LayerNormalization LeakyRelu Log LogSoftmax \
    LpNormalization Mish Neg Not PRelu QuantizeLinear RMSNormalization Reciprocal Relu Round Selu Sigmoid Sign Sin Softmax \
    Softplus Softsign Sqrt Swish Tanh ThresholdedRelu Trilu";
/// Those of them whose first input has the axes of their result, and no other input matters.
const BOTH_WAYS: &str = "Celu Clip Dropout Elu Identity LeakyRelu Relu Selu Sigmoid Softplus Tanh Softmax LogSoftmax";
const BROADCAST: &str = "Add Sub Mul Div Pow Max Min Sum Mean";
const POOLS: &str = "MaxPool AveragePool LpPool";
const GLOBAL_POOLS: &str = "GlobalMaxPool GlobalAveragePool";

fn is_one_of(words: &str, op: &str) -> bool {
    words.split_ascii_whitespace().any(|word| word == op)
}

/// The length of an axis that is not known.
fn open() -> Dimension {
    Dimension::default()
}

fn fixed(length: i64) -> Dimension {
    if length > 0 { Dimension { value: Some(length), param: None } } else { open() }
}

fn tensor(elem_type: i32, dim: Vec<Dimension>) -> TensorType {
    TensorType { elem_type, shape: Some(TensorShape { dim }) }
}

/// What is known so far.
struct Told<'g> {
    types: HashMap<String, TensorType>,
    /// Lengths of the axes of initializers.
    lengths: HashMap<&'g str, &'g [i64]>,
    numbers: HashMap<&'g str, Vec<i64>>,
}

/// Returns what is known about the tensors of `graph`, by their names.
pub(super) fn types(graph: &Graph, sources: &mut Sources) -> HashMap<String, TensorType> {
    let mut told = Told { types: HashMap::new(), lengths: HashMap::new(), numbers: HashMap::new() };
    for info in graph.value_info.iter().chain(&graph.input) {
        if let Some(tensor) = info.of.as_ref().and_then(|of| of.tensor.clone())
            && tensor.shape.as_ref().is_some_and(|shape| shape.dim.len() <= MAX_RANK)
        {
            told.types.insert(info.name.clone(), tensor);
        }
    }
    let constants = graph.node.iter().filter(|node| node.op_type == "Constant").filter_map(|node| {
        let tensor = node.attribute.iter().find(|a| a.name == "value").and_then(|a| a.t.as_ref());
        node.output.first().zip(tensor)
    });
    for (name, tensor) in graph.initializer.iter().map(|tensor| (&tensor.name, tensor)).chain(constants) {
        told.lengths.insert(name, &tensor.dims);
        let dims = tensor.dims.iter().map(|&n| fixed(n)).collect();
        told.types.insert(name.clone(), self::tensor(tensor.data_type, dims));
        // A damaged one is told where it is read.
        if let (1, Ok(Decoded::Numbers(numbers))) = (tensor.dims.len(), decode(tensor.clone(), sources)) {
            told.numbers.insert(name, numbers.iter().filter_map(super::size::Size::value).collect());
        }
    }
    graph.node.iter().for_each(|node| told.forward(node));
    graph.node.iter().rev().for_each(|node| told.backward(node));
    // What follows from recurrent nodes goes on behind them.
    graph.node.iter().for_each(|node| told.forward(node));
    told.types
}

impl<'g> Told<'g> {
    fn dims(&self, node: &Node, input: usize) -> Option<Vec<Dimension>> {
        let name = node.input.get(input)?;
        Some(self.types.get(name)?.shape.as_ref()?.dim.clone())
    }

    fn element(&self, node: &Node, input: usize) -> i32 {
        node.input.get(input).and_then(|name| self.types.get(name)).map_or(0, |tensor| tensor.elem_type)
    }

    /// Returns the lengths of the axes of a weight.
    fn weight(&self, node: &Node, input: usize) -> Option<&'g [i64]> {
        self.lengths.get(node.input.get(input)?.as_str()).copied()
    }

    /// Returns the whole numbers of input `input`, or those of attribute `name`.
    fn whole(&self, node: &Node, input: usize, name: &str) -> Option<Vec<i64>> {
        match attribute(node, name) {
            Some(found) => Some(found.ints.clone()),
            None => self.numbers.get(node.input.get(input)?.as_str()).cloned(),
        }
    }

    /// Tells a type, unless the file does.
    fn tell(&mut self, name: Option<&String>, elem_type: i32, dim: Vec<Dimension>) {
        let Some(name) = name.filter(|name| !name.is_empty() && dim.len() <= MAX_RANK) else { return };
        self.types.entry(name.clone()).or_insert_with(|| tensor(elem_type, dim));
    }

    /// Tells what follows for the outputs of `node` from its inputs.
    fn forward(&mut self, node: &'g Node) {
        let op = node.op_type.as_str();
        if RECURRENT.contains(&op) {
            self.recurrent(node);
            return;
        }
        let element = match (op, attribute(node, "to")) {
            ("Cast", Some(to)) => to.i.and_then(|to| i32::try_from(to).ok()).unwrap_or(0),
            ("Shape" | "Size", _) => INT64,
            _ => self.element(node, 0),
        };
        if op == "ConstantOfShape" {
            let element = attribute(node, "value").and_then(|a| a.t.as_ref()).map_or(FLOAT, |t| t.data_type);
            if let Some(dims) = self.whole(node, 0, "").map(|all| all.into_iter().map(fixed).collect()) {
                self.tell(node.output.first(), element, dims);
            }
            return;
        }
        if let Some(dims) = self.result(node) {
            self.tell(node.output.first(), element, dims);
        }
    }

    /// Returns the axes of the first output of `node`.
    fn result(&self, node: &Node) -> Option<Vec<Dimension>> {
        let op = node.op_type.as_str();
        let first = self.dims(node, 0)?;
        let rank = first.len();
        let spread = |mut dims: Vec<Dimension>| {
            dims.resize(rank, open());
            dims
        };
        Some(match op {
            _ if is_one_of(ALIKE, op) => first,
            _ if is_one_of(BROADCAST, op) => {
                let all = (0..node.input.len()).map(|i| self.dims(node, i)).collect::<Option<Vec<_>>>()?;
                all.into_iter().reduce(|a, b| broadcast(&a, &b))?
            }
            "Transpose" => {
                let order = match attribute(node, "perm") {
                    Some(perm) => perm.ints.iter().map(|&n| place(n, rank)).collect::<Option<Vec<_>>>()?,
                    None => (0..rank).rev().collect(),
                };
                order.into_iter().map(|axis| first[axis].clone()).collect()
            }
            "Unsqueeze" => {
                let axes = self.whole(node, 1, "axes")?;
                let rank = rank + axes.len();
                let axes = axes.into_iter().map(|n| place(n, rank)).collect::<Option<Vec<_>>>()?;
                let mut rest = first.into_iter();
                (0..rank)
                    .map(|i| if axes.contains(&i) { Some(fixed(1)) } else { rest.next() })
                    .collect::<Option<_>>()?
            }
            "Squeeze" => {
                let axes = self.whole(node, 1, "axes")?;
                let axes = axes.into_iter().map(|n| place(n, rank)).collect::<Option<Vec<_>>>()?;
                first.into_iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, dim)| dim).collect()
            }
            "Conv" => spread(vec![first.first()?.clone(), fixed(*self.weight(node, 1)?.first()?)]),
            _ if is_one_of(POOLS, op) => spread(first.into_iter().take(2).collect()),
            _ if is_one_of(GLOBAL_POOLS, op) => {
                first.into_iter().take(2).chain(std::iter::repeat_n(fixed(1), rank.saturating_sub(2))).collect()
            }
            "MatMul" => match *self.weight(node, 1)? {
                [_, columns] if rank > 0 => first.into_iter().take(rank - 1).chain([fixed(columns)]).collect(),
                _ => return None,
            },
            "Gemm" => {
                let [rows, columns] = *self.weight(node, 1)? else { return None };
                let turned = |name: &str| attribute(node, name).is_some_and(|a| a.i == Some(1));
                let batch = first.into_iter().nth(usize::from(turned("transA")))?;
                vec![batch, fixed(if turned("transB") { rows } else { columns })]
            }
            "Reshape" => {
                let wanted = self.whole(node, 1, "shape")?;
                let same =
                    |(i, &n): (usize, &i64)| if n == 0 { first.get(i).cloned().unwrap_or_default() } else { fixed(n) };
                wanted.iter().enumerate().map(same).collect()
            }
            "Flatten" => vec![open(), open()],
            "Concat" => {
                let axis = place(attribute(node, "axis")?.i.unwrap_or(0), rank)?;
                first.into_iter().enumerate().map(|(i, dim)| if i == axis { open() } else { dim }).collect()
            }
            "Slice" | "Pad" => vec![open(); rank],
            "Gather" => {
                let axis = place(attribute(node, "axis").and_then(|a| a.i).unwrap_or(0), rank)?;
                let indices = self.dims(node, 1)?;
                first[..axis].iter().cloned().chain(indices).chain(first[axis + 1..].iter().cloned()).collect()
            }
            "Shape" => vec![fixed(i64::try_from(rank).ok()?)],
            _ => return None,
        })
    }

    /// Tells the axes of what a recurrent node takes and gives. Its weights have the sizes.
    fn recurrent(&mut self, node: &'g Node) {
        let (Some(&[.., inputs]), Some(&[directions, .., units])) = (self.weight(node, 1), self.weight(node, 2)) else {
            return;
        };
        // DynamicQuantizeLSTM has its weights the other way round.
        let [inputs, units, directions] = match (node.op_type.as_str(), self.weight(node, 1), self.weight(node, 2)) {
            ("DynamicQuantizeLSTM", Some(&[_, inputs, _]), Some(&[directions, units, _])) => {
                [inputs, units, directions]
            }
            _ => [inputs, units, directions],
        };
        let batch_first = attribute(node, "layout").is_some_and(|a| a.i == Some(1));
        let states = || {
            let (d, h) = (fixed(directions), fixed(units));
            if batch_first { vec![open(), d, h] } else { vec![d, open(), h] }
        };
        self.tell(node.input.first(), FLOAT, vec![open(), open(), fixed(inputs)]);
        self.tell(node.input.get(4), INT32, vec![open()]);
        self.tell(node.input.get(5), FLOAT, states());
        self.tell(node.input.get(6), FLOAT, states());
        let (d, h) = (fixed(directions), fixed(units));
        let all = if batch_first { vec![open(), open(), d, h] } else { vec![open(), d, open(), h] };
        self.tell(node.output.first(), FLOAT, all);
        self.tell(node.output.get(1), FLOAT, states());
        self.tell(node.output.get(2), FLOAT, states());
    }

    /// Tells what follows for the first input of `node` from its first output.
    fn backward(&mut self, node: &'g Node) {
        let Some(given) = node.output.first().and_then(|name| self.types.get(name)).cloned() else { return };
        let Some(dims) = given.shape.map(|shape| shape.dim) else { return };
        let op = node.op_type.as_str();
        let rank = dims.len();
        let taken = match op {
            _ if is_one_of(BOTH_WAYS, op) => Some(dims),
            "Transpose" => attribute(node, "perm").and_then(|perm| {
                let mut taken = vec![open(); rank];
                for (dim, &axis) in dims.iter().zip(&perm.ints) {
                    *taken.get_mut(place(axis, rank)?)? = dim.clone();
                }
                (perm.ints.len() == rank).then_some(taken)
            }),
            "Squeeze" => self.whole(node, 1, "axes").and_then(|axes| {
                let rank = rank + axes.len();
                let axes = axes.into_iter().map(|n| place(n, rank)).collect::<Option<Vec<_>>>()?;
                let mut rest = dims.into_iter();
                (0..rank).map(|i| if axes.contains(&i) { Some(fixed(1)) } else { rest.next() }).collect()
            }),
            "Unsqueeze" => self.whole(node, 1, "axes").and_then(|axes| {
                let axes = axes.into_iter().map(|n| place(n, rank)).collect::<Option<Vec<_>>>()?;
                Some(dims.into_iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, dim)| dim).collect())
            }),
            _ => None,
        };
        if let Some(taken) = taken {
            self.tell(node.input.first(), given.elem_type, taken);
        }
    }
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// Returns the place of an axis, which may be counted from the end.
fn place(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}

/// Returns the axes of two tensors that are combined element by element.
fn broadcast(a: &[Dimension], b: &[Dimension]) -> Vec<Dimension> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Dimension], i: usize| (i + dims.len()).checked_sub(rank).map_or(fixed(1), |i| dims[i].clone());
    let one = |i: usize| match (at(a, i), at(b, i)) {
        (a, b) if a.value == Some(1) => b,
        (a, b) if b.value == Some(1) || a == b => a,
        (a, _) if a.value.is_some() => a,
        (_, b) if b.value.is_some() => b,
        _ => open(),
    };
    (0..rank).map(one).collect()
}
