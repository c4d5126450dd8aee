//! The other runtime, rten: it loads a graph of ONNX and runs it on the host.
//!
//! The only file that knows rten. Its errors and panics become errors that name the node.

use std::borrow::Cow;
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use rten::{ModelOptions, NodeId, RunErrorKind, RunOptions, ThreadPool, Value, ValueOrView, ValueType, ValueView};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::formats::Foreign;
use crate::named::Values;
use crate::platform::{caught, parallel};

/// What runs such parts, in tables.
pub(super) const NAME: &str = "rten";

/// The threads that run parts: as many as the rest of the crate may take.
pub(super) struct Host(Arc<ThreadPool>);

impl Host {
    pub(super) fn new() -> Self {
        Self(Arc::new(ThreadPool::with_num_threads(parallel::current_num_threads())))
    }
}

/// A graph that rten has loaded.
pub(super) struct Runtime {
    model: rten::Model,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    options: RunOptions,
}

impl Runtime {
    /// Loads a part.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Model` that names the node that rten does not take, or the error of a
    /// tensor that cannot be read.
    pub(super) fn load(foreign: Foreign, _: &[(String, usize)], host: &Host) -> Result<Self> {
        let bytes = (foreign.bytes)()?;
        let loaded = guarded("loaded this part", || ModelOptions::with_all_ops().load(bytes))?;
        let model = loaded.map_err(|e| {
            let node = e.node().and_then(|name| foreign.nodes.iter().find(|(called, _)| called == name));
            let text = match node {
                Some((called, op)) => {
                    format!("{called}: neither gatewave nor rten, which runs what it does not, reads this {op}: {e}")
                }
                None => format!("neither gatewave nor rten, which runs what it does not, reads it: {e}"),
            };
            Error::new(ErrorKind::Model, text).because(e)
        })?;
        let (inputs, outputs) = (model.input_ids().to_vec(), model.output_ids().to_vec());
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&host.0)));
        Ok(Self { model, inputs, outputs, options })
    }

    /// Runs the part on `tensors`, which have these `names`, and returns what it gives.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if they do not fit an operator.
    pub(super) fn run(&self, names: &[String], tensors: &[&Values]) -> Result<Vec<Values>> {
        let wholes = |(name, (values, id)): (&String, (&&Values, &NodeId))| {
            let is = self.model.node_info(*id).and_then(|info| info.dtype());
            whole(values, is).map_err(|e| e.at(name))
        };
        let wholes: Vec<Option<Value>> =
            names.iter().zip(tensors.iter().zip(&self.inputs)).map(wholes).collect::<Result<_>>()?;
        let reals: Vec<Cow<'_, [f32]>> = tensors.iter().map(|values| reals(values)).collect();
        let mut taken: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(tensors.len());
        for (((&id, values), whole), reals) in self.inputs.iter().zip(tensors).zip(wholes).zip(&reals) {
            let value = match whole {
                Some(value) => value.into(),
                None => ValueView::from_shape(values.shape(), reals).map_err(Error::internal)?.into(),
            };
            taken.push((id, value));
        }
        let ran = guarded("ran this part", || self.model.run(taken, &self.outputs, Some(self.options.clone())))?;
        let results = ran.map_err(|e| {
            let kind = match e.kind() {
                RunErrorKind::InvalidInput | RunErrorKind::OperatorError => ErrorKind::Shape,
                _ => ErrorKind::Model,
            };
            Error::new(kind, format!("rten: {e}")).because(e)
        })?;
        results.into_iter().map(values).collect()
    }
}

/// Returns the result of `work`. Files are hostile, and rten promises no more than that memory is safe: a panic in it
/// is an error here.
fn guarded<T>(what: &str, work: impl FnOnce() -> T) -> Result<T> {
    let text = || format!("rten panicked when it {what}; the message on standard error says where");
    caught(work).ok_or_else(|| Error::new(ErrorKind::Model, text()))
}

/// Returns whole numbers as rten has them, which has none of 64 bits. `None` for reals.
fn whole(values: &Values, of: Option<ValueType>) -> Result<Option<Value>> {
    use rten::DataType::{Int8, UInt8};

    let Values::I64(array) = values else { return Ok(None) };
    fn narrow<T: TryFrom<i64> + Clone>(array: &ArrayD<i64>) -> Result<Tensor<T>> {
        let one = |&n: &i64| {
            let text = || format!("expected whole numbers of {} bits, got {n}", 8 * size_of::<T>());
            T::try_from(n).map_err(|_| Error::new(ErrorKind::Shape, text()))
        };
        let all = array.iter().map(one).collect::<Result<Vec<T>>>()?;
        Ok(Tensor::from_data(array.shape(), all))
    }
    Ok(Some(match of {
        Some(ValueType::Tensor(Int8)) => narrow::<i8>(array)?.into(),
        Some(ValueType::Tensor(UInt8)) => narrow::<u8>(array)?.into(),
        _ => narrow::<i32>(array)?.into(),
    }))
}

/// Returns reals in the order of their axes: a copy only if they are not.
fn reals(values: &Values) -> Cow<'_, [f32]> {
    match values {
        Values::F32(array) => match array.as_slice() {
            Some(all) => Cow::Borrowed(all),
            None => Cow::Owned(array.iter().copied().collect()),
        },
        Values::I64(_) => Cow::Borrowed(&[]),
    }
}

/// Returns what rten gives as named tensors have it.
fn values(value: Value) -> Result<Values> {
    fn array<T: Clone>(tensor: Tensor<T>) -> Result<ArrayD<T>> {
        let shape = tensor.shape().to_vec();
        ArrayD::from_shape_vec(IxDyn(&shape), tensor.into_data()).map_err(Error::internal)
    }
    Ok(match value {
        Value::FloatTensor(tensor) => Values::F32(array(tensor)?),
        Value::Int32Tensor(tensor) => Values::I64(array(tensor)?.mapv(i64::from)),
        Value::Int8Tensor(tensor) => Values::I64(array(tensor)?.mapv(i64::from)),
        Value::UInt8Tensor(tensor) => Values::I64(array(tensor)?.mapv(i64::from)),
        _ => return Err(Error::new(ErrorKind::Model, "expected a tensor out of it, got a sequence of tensors")),
    })
}
