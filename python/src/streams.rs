//! Independent sequences that arrive frame by frame, and tokens that are drawn one after the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatewave::stream::{FrameValue, Sampling, StreamId};
use gatewave::{Results, Values};
use ndarray::{Array2, ArrayD, Axis};
use pyo3::prelude::*;

use crate::arrays::{self, Given};
use crate::errors::{compute, refused};
use crate::fork::Kept;
use crate::model::Engine;

/// One of the sequences of a [`Streams`].
#[pyclass(frozen, eq, hash, module = "gatewave._native")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stream {
    id: StreamId,
}

#[pymethods]
impl Stream {
    fn __repr__(&self) -> String {
        format!("<gatewave stream {}>", self.id)
    }
}

type Inner = gatewave::Streams<Arc<gatewave::Engine>>;

/// Independent sequences of one model in one batch. Threads may share it: pushes take turns.
#[pyclass(frozen, module = "gatewave._native")]
pub(crate) struct Streams {
    inner: Kept<Mutex<Inner>>,
    /// The names of what a frame gives; the first is the one that a push returns.
    outputs: Vec<String>,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns copies of what the last push gave.
    fn outputs(&self, streams: &Inner) -> gatewave::Result<Vec<(String, Values)>> {
        self.outputs.iter().map(|name| Ok((name.clone(), arrays::copied(streams.output(name)?)))).collect()
    }
}

/// The parts of frames, by input: a row for each frame.
enum Parts {
    Features(Array2<f32>),
    Tokens(Vec<i64>),
}

impl Parts {
    fn value(&self, frame: usize) -> FrameValue<'_> {
        match self {
            Self::Features(rows) => {
                let (width, all) = (rows.ncols(), rows.as_slice().expect("rows are contiguous"));
                FrameValue::Features(&all[frame * width..][..width])
            }
            Self::Tokens(tokens) => FrameValue::Token(tokens[frame]),
        }
    }
}

#[pymethods]
impl Streams {
    #[new]
    fn new(py: Python<'_>, engine: &Engine, capacity: usize, outputs: Vec<String>) -> PyResult<Self> {
        let held = Arc::clone(&*engine.held);
        let inner = compute(py, || gatewave::Streams::new(Arc::clone(&held.engine), capacity))?;
        Ok(Self { inner: Kept::new(Mutex::new(inner)), outputs })
    }

    fn join(&self, py: Python<'_>) -> PyResult<Stream> {
        compute(py, || Ok(Stream { id: self.lock().join() }))
    }

    fn leave(&self, py: Python<'_>, stream: &Stream) -> PyResult<()> {
        compute(py, || self.lock().leave(stream.id))
    }

    fn reset(&self, py: Python<'_>, stream: &Stream) -> PyResult<()> {
        compute(py, || self.lock().reset(stream.id))
    }

    /// Sets what one stream is given once: rows and initial states.
    fn set(&self, py: Python<'_>, stream: &Stream, given: Given<'_>) -> PyResult<()> {
        let tensors = arrays::named(&given)?;
        compute(py, || self.lock().set_named(stream.id, &tensors))
    }

    fn count(&self, py: Python<'_>) -> PyResult<(usize, usize)> {
        compute(py, || {
            let streams = self.lock();
            Ok((streams.len(), streams.capacity()))
        })
    }

    /// Gives frame i to stream i of `streams`. `parts` has the frames of each input; several of one stream are in the
    /// order of time. Returns what each frame gives, by output: nothing unless `results` is `wanted`.
    fn push<'py>(
        &self,
        py: Python<'py>,
        streams: Vec<Bound<'py, Stream>>,
        parts: Given<'py>,
        results: &str,
    ) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
        let ids: Vec<StreamId> = streams.iter().map(|stream| stream.get().id).collect();
        let mut all: Vec<(&str, Parts)> = Vec::with_capacity(parts.len());
        for (name, array) in &parts {
            let part = match arrays::values(name, array)? {
                Values::F32(array) => Parts::Features(rows(py, name, array, ids.len())?),
                Values::I64(array) if array.len() == ids.len() => Parts::Tokens(array.iter().copied().collect()),
                other => return Err(miscounted(py, name, other.shape(), ids.len())),
            };
            all.push((name, part));
        }
        let wanted = match results {
            "wanted" => Results::Wanted,
            "unwanted" => Results::Unwanted,
            _ => Results::Deferred,
        };
        let given = compute(py, || {
            let mut inner = self.lock();
            // By name, whatever the number of inputs: an error then says which one it is about.
            let frame = |index: usize| all.iter().map(|(name, part)| (*name, part.value(index))).collect();
            let frames: Vec<(StreamId, Vec<(&str, FrameValue<'_>)>)> =
                ids.iter().enumerate().map(|(index, id)| (*id, frame(index))).collect();
            inner.push_named(&frames, wanted)?;
            if wanted == Results::Wanted { self.outputs(&inner) } else { Ok(Vec::new()) }
        })?;
        arrays::arrays(py, given)
    }

    /// Waits for the results of the oldest push that was deferred.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
        let given = compute(py, || {
            let mut inner = self.lock();
            inner.receive()?;
            self.outputs(&inner)
        })?;
        arrays::arrays(py, given)
    }

    /// Lets each stream go on by itself for `steps` steps, from its next token. `sampling` is temperature and top-k,
    /// `seeds` one for each stream. Returns the tokens, a row for each stream.
    #[pyo3(signature = (streams, tokens, seeds, temperature, top_k, steps, output))]
    #[expect(clippy::too_many_arguments, reason = "the package calls it in one place")]
    fn generate<'py>(
        &self,
        py: Python<'py>,
        streams: Vec<Bound<'py, Stream>>,
        tokens: Vec<i64>,
        seeds: Vec<u64>,
        temperature: f32,
        top_k: Option<usize>,
        steps: usize,
        output: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let sampling = Sampling::default().temperature(temperature).top_k(top_k);
        let all: Vec<(StreamId, i64, Sampling)> = streams
            .iter()
            .zip(tokens)
            .zip(seeds)
            .map(|((stream, token), seed)| (stream.get().id, token, sampling.seed(seed)))
            .collect();
        let drawn = compute(py, || {
            let mut inner = self.lock();
            if let Some(output) = output {
                inner.draw_from(output)?;
            }
            Ok(Values::I64(inner.generate(&all, steps)?.to_owned().into_dyn()))
        })?;
        arrays::array(py, drawn)
    }
}

/// Returns `array` with a row for each frame, contiguous.
fn rows(py: Python<'_>, name: &str, array: ArrayD<f32>, frames: usize) -> PyResult<Array2<f32>> {
    if array.ndim() != 2 || array.len_of(Axis(0)) != frames {
        return Err(miscounted(py, name, array.shape(), frames));
    }
    let array = array.as_standard_layout().into_owned();
    Ok(array.into_dimensionality().expect("two axes were counted"))
}

fn miscounted(py: Python<'_>, name: &str, got: &[usize], frames: usize) -> PyErr {
    refused(py, "shape", &format!("{name}: expected {frames} frames, one for each stream of the push, got {got:?}"))
}
