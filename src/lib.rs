//! Recurrent networks (simple RNN, LSTM, GRU) on any GPU through wgpu's compute shaders, and on the CPU.
//!
//! A [`Model`] says what is computed, [`Weights`] are its numbers, and an [`Engine`] is both of them on a device, ready
//! to run. Words, sizes and shapes are PyTorch's.
//!
//! # A first model
//!
//! Tokens through a table and an LSTM to one number: the layers read like `torch.nn.Sequential`.
//!
//! ```
//! use gatewave::{Activation, Device, Embedding, Engine, Input, Linear, Lstm, Model, Select, Weights};
//! use ndarray::array;
//!
//! # fn main() -> gatewave::Result<()> {
//! let model = Model::new()
//!     .layer(Embedding::new(500, 16))
//!     .layer(Lstm::new(16, 32).num_layers(2))
//!     .layer(Select::FinalHidden)
//!     .layer(Linear::new(32, 1).activation(Activation::Sigmoid));
//! println!("{}", model.summary());
//!
//! let weights = Weights::random(&model, 0)?;
//! let engine = Engine::new(model, &weights, Device::Auto)?;
//! println!("{}: {}", engine.device(), engine.device().reason());
//!
//! // Two rows of five tokens; the second row ends after three, and what stands there then is not read.
//! let input = Input::tokens(array![[11, 22, 33, 44, 55], [7, 8, 9, 0, 0]]).lengths([5, 3]);
//! let result = engine.run(&input)?;
//! assert_eq!(result.output.shape(), [2, 1]);
//! # Ok(())
//! # }
//! ```
//!
//! # Weights from PyTorch
//!
//! A `state_dict` that `safetensors.torch.save_file` wrote is read as it is. What it does not say (which layers there
//! are, and in which order) stands in a description: a JSON file beside it, or the file's own metadata.
//! `docs/model-format.md` in the repository has every key.
//!
//! ```
//! use std::path::Path;
//!
//! use gatewave::{Device, Engine, Input, formats};
//! use ndarray::Array2;
//!
//! # fn main() -> gatewave::Result<()> {
//! let tensors = Path::new("models/shakespeare/shakespeare.safetensors");
//! let description = Path::new("models/shakespeare/model.json");
//! let (model, weights) = formats::open(tensors, Some(description))?;
//! let engine = Engine::new(model, &weights, Device::Cpu)?;
//!
//! let result = engine.run(&Input::tokens(Array2::zeros((1, 8))))?;
//! assert_eq!(result.output.shape(), [1, 8, 65]);
//! # Ok(())
//! # }
//! ```
//!
//! [`Engine::from_tensors`] leaves out the step between: it loads a model from its file to the device without a copy of the
//! weights on the way, and tells how far it is.
//!
//! # States
//!
//! An engine keeps no state between calls. Every call gives the final states of each recurrent stack, in PyTorch's
//! order and shapes, and takes initial ones: a long sequence may come in pieces. (A stack that is
//! [`stateful`](Recurrent::stateful), as Keras has them, begins where the engine's last call ended.)
//!
//! ```
//! use gatewave::{Device, Engine, Gru, Input, Model, Weights};
//! use ndarray::Array3;
//!
//! # fn main() -> gatewave::Result<()> {
//! let model = Model::new().layer(Gru::new(8, 32));
//! let engine = Engine::new(model.clone(), &Weights::random(&model, 0)?, Device::Cpu)?;
//!
//! let mut states = None;
//! for _ in 0..3 {
//!     let mut piece = Input::features(Array3::ones((1, 10, 8)));
//!     if let Some(states) = states {
//!         piece = piece.states(states);
//!     }
//!     let result = engine.run(&piece)?;
//!     states = result.states.into_iter().next();
//! }
//! assert_eq!(states.map(|states| states.h.shape().to_vec()), Some(vec![1, 1, 32]));
//! # Ok(())
//! # }
//! ```
//!
//! # Frame by frame
//!
//! [`Streams`] are many independent sequences that arrive in pieces: each push gives some of them their next frames, and
//! their states stay on the device in between.
//!
//! ```
//! use gatewave::{Device, Engine, Lstm, Model, Results, Streams, Weights};
//!
//! # fn main() -> gatewave::Result<()> {
//! let model = Model::new().layer(Lstm::new(2, 16));
//! let engine = Engine::new(model.clone(), &Weights::random(&model, 0)?, Device::Cpu)?;
//! let mut streams = Streams::new(&engine, 1000)?;
//! let microphone = streams.join();
//! for frame in [[0.1, 0.2], [0.3, 0.4]] {
//!     let outputs = streams.push(&[(microphone, frame)], Results::Wanted)?;
//!     assert_eq!(outputs.shape(), [1, 16]);
//! }
//! streams.leave(microphone)?;
//! # Ok(())
//! # }
//! ```
//!
//! With [`Results::Unwanted`] only the states go on, and nothing is read back. With [`Results::Later`] a push returns as soon
//! as the device has it, and [`Streams::receive`] gives the results of the first that waits: the host lays out frames and
//! reads results while the device computes.
//!
//! Streams of tokens can go on by themselves: [`Streams::generate`] draws each next token where the engine computes, as
//! [`Sampling`] says, many of them for one answer.
//!
//! A graph streams as well, where nothing in it needs later frames. Of several sequences each frame has a part of each
//! ([`Streams::push_named`]), and each of several outputs has its results ([`Streams::output`]). An input without a time axis is set
//! once ([`Streams::set_row`]), and so are states to begin with ([`Streams::set_states`]).
//!
//! # Sequences of different lengths
//!
//! [`Input::lengths`] gives each row its number of steps, in any order; [`Input::mask`] says it step by step, holes
//! included. Where a row has no step its state stays and its output is zero; the padding is never read, so it may hold
//! NaN. The reverse direction begins at each row's own last step. That is what PyTorch gives for a `PackedSequence`.
//!
//! # Devices and precision
//!
//! [`Device::Auto`] is the discrete GPU, else the integrated one, else the CPU; [`Engine::device`] says which it was and
//! why. [`Device::Named`] takes a part of an adapter's name, and there is no falling back from it:
//!
//! ```
//! use gatewave::{Device, Engine, ErrorKind, Lstm, Model, Options, Precision, Weights};
//!
//! # fn main() -> gatewave::Result<()> {
//! let model = Model::new().layer(Lstm::new(8, 32));
//! let weights = Weights::random(&model, 0)?;
//!
//! let halves = Options::default().device(Device::Cpu).precision(Precision::F16);
//! let engine = Engine::with_options(model.clone(), &weights, halves)?;
//! assert_eq!(engine.device().name(), "CPU");
//!
//! let error = Engine::new(model, &weights, Device::Named("voodoo".into())).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Device);
//! println!("{error}"); // names the adapters that there are
//! # Ok(())
//! # }
//! ```
//!
//! # Without blocking, and from many threads
//!
//! [`Engine::new_async`] and [`Engine::run_async`] sleep while a GPU computes. An engine is `Send` and `Sync`: calls
//! may overlap. The CPU computes on rayon's pool, in whose place a caller can install its own. A thread that is not of the
//! pool sleeps meanwhile, and to wake it takes time: on few processors a program that calls from its main thread alone does
//! well to make it one of them, by `rayon::ThreadPoolBuilder::new().use_current_thread().build_global()`, as the command line
//! does. One that waits in its main thread for others that call does not: the pool then lacks a thread.
//!
//! ```
//! use gatewave::{Device, Engine, Input, Model, Options, Rnn, Weights};
//! use ndarray::Array3;
//!
//! # fn main() -> gatewave::Result<()> {
//! let model = Model::new().layer(Rnn::new(4, 16).bidirectional());
//! let weights = Weights::random(&model, 0)?;
//! let output = pollster::block_on(async {
//!     let engine = Engine::new_async(model, &weights, Options::default().device(Device::Cpu)).await?;
//!     engine.run_async(&Input::features(Array3::zeros((3, 5, 4)))).await
//! })?;
//! assert_eq!(output.output.shape(), [3, 5, 32]);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! Nothing that can be passed in makes the library panic. An [`Error`] says **where: what, expected x, got y; hint**,
//! and its [`kind`](Error::kind) what a caller can do about it.
//!
//! # Is it right?
//!
//! [`oracle`] computes the textbook equations in f64, and [`conformance`] is the table of cases that every executor is
//! compared with it on, with its tolerances. `gatewave verify` runs the table on any device.
//!
//! # Features
//!
//! All are on by default. A library needs no `cli`: `default-features = false, features = ["gpu", "keras", "onnx", "csv"]`.
//!
//! | feature | |
//! | --- | --- |
//! | `gpu` | computes on GPUs, through wgpu; without it the crate builds without wgpu and computes on the CPU |
//! | `keras` | reads `.keras` and `.h5` files |
//! | `onnx` | reads `.onnx` files |
//! | `csv` | reads labelled text in `.csv` files |
//! | `cli` | what the binary `gatewave` needs |
//!
//! `.safetensors` files are read with none of them.
//!
//! # Debug builds
//!
//! A debug build of this crate computes several hundred times slower than a release build, and the first engine logs a
//! warning. Build with `--release`. To debug a program of your own with fast dependencies, add to its `Cargo.toml`:
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 3
//! debug-assertions = false
//! ```
//!
//! The library type-checks for `wasm32-unknown-unknown` with any of them but `cli`; there is no browser page yet. What
//! blocks is left out there: call the `async` method beside it. [`formats::read_bytes`] reads a model without a file system.

// Blocking methods, and what only they and the tests of a device reach.
#![cfg_attr(
    target_arch = "wasm32",
    allow(dead_code, reason = "a page must not wait, so that whoever waits is left out")
)]

// In the order of the road; ARCHITECTURE.md says who may import whom.

// What the user asks for, and what everyone may use.
mod cell;
mod dropout;
mod error;
mod model;
mod platform;
mod random;
mod summary;

// Named tensors become the weights of a model; and bytes of a file become a model and such tensors.
pub mod formats;
pub mod weights;

// The arithmetic of an update, and what a training is told.
mod rule;
mod train;

// What a call brings, checked against the model; and by the names that callers use.
mod call;
mod named;

// What training makes small.
mod loss;

// Labelled text becomes named tensors.
pub mod data;

// Where weights and states sit, what kernels are, and what a call decides: for the command line and the tests.
#[doc(hidden)]
pub mod kernel;
#[doc(hidden)]
pub mod layout;
mod pack;
#[doc(hidden)]
pub mod plan;

// Who computes.
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "gpu_absent.rs"]
mod gpu;

// Who walks the road for a user.
mod engine;
mod feed;

// Who trains.
mod trainer;

// Who checks.
pub mod conformance;
pub mod oracle;

pub use call::{Input, Output, Sequence, States};
pub use cell::{Activation, Cell, Constant, Coupling, Functions, Peepholes, Reset, Variant};
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub use engine::KernelTime;
#[doc(hidden)]
pub use engine::Planner;
pub use engine::{
    Checked, Device, DeviceInfo, Engine, FrameValue, Loading, Options, Progress, Sampling, SelfCheck, StreamId,
    Streams, Timings,
};
pub use error::{Error, ErrorKind, Result};
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub use gpu::adapters;
#[cfg(feature = "gpu")]
pub use gpu::{AdapterInfo, AdapterKind};
pub use kernel::{Mask, Storage};
pub use loss::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, Objective, Targets, Term};
pub use model::{
    Axes, Bias, Dim, Direction, Dropout, Drops, Embedding, Features, Flow, Graph, Gru, Initial, InputKind, InputPort,
    InputValue, Join, Layer, LayerKind, Linear, Lstm, Masking, Memory, Merge, Model, ModelInput, ModelOutput, Node,
    OneHot, OutputPort, OutputValue, Padding, Pin, Ports, Recurrent, Required, Rnn, Role, Select, Slice, SliceSteps,
    Sources, State, Value, WeightPart,
};
pub use named::{Examples, NamedTensors, Values};
pub use plan::{Results, Strategy};
#[doc(hidden)]
pub use rule::{Method, Moment, Rule, Scalars, clip_factor, squares, update};
pub use summary::Summary;
pub use train::{
    Adam, AdamW, Clip, L2, Like, Measure, Optimizer, Plateau, PlateauState, RmsProp, Schedule, Sgd, Update, WeightDecay,
};
pub use trainer::{
    Batch, Dataset, EarlyStopping, Epoch, Fit, FitEnd, FitEvent, Fitting, Gradients, Measures, Metric, Standing,
    Trained, Trainer,
};
pub use weights::{CellWeights, LayerWeights, LearnedStates, Precision, Weights};

/// The README's examples are tested with the rest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// And those of the tutorials.
#[cfg(doctest)]
#[doc = include_str!("../docs/tutorials.md")]
struct Tutorials;
