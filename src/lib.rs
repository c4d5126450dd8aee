//! Recurrent networks (simple RNN, LSTM, GRU) on any GPU through wgpu's compute shaders, and on the CPU.
//!
//! A [`Model`] says what is computed, and [`Weights`] holds its parameters. An [`Engine`] holds both on a device, ready
//! to run. Terminology and shapes follow PyTorch.
//!
//! # A first model
//!
//! This model maps tokens, through an embedding and an LSTM, to a single number. The layers read like
//! `torch.nn.Sequential`.
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
//! // Two rows of five tokens. The second row ends after three tokens; the rest of it is not read.
//! let input = Input::tokens(array![[11, 22, 33, 44, 55], [7, 8, 9, 0, 0]]).lengths([5, 3]);
//! let result = engine.run(&input)?;
//! assert_eq!(result.output.shape(), [2, 1]);
//! # Ok(())
//! # }
//! ```
//!
//! # Weights from PyTorch
//!
//! A `state_dict` written by `safetensors.torch.save_file` is read as is. It does not record the layers or their order.
//! A description does: a JSON file next to the weights, or metadata in the weights file itself. `docs/model-format.md`
//! in the repository documents every key.
//!
//! ```
//! use gatewave::{Device, Engine, Input};
//! use ndarray::Array2;
//!
//! # fn main() -> gatewave::Result<()> {
//! let engine = Engine::builder()
//!     .device(Device::Cpu)
//!     .open_with("models/shakespeare/shakespeare.safetensors", "models/shakespeare/model.json")?;
//!
//! let result = engine.run(&Input::tokens(Array2::zeros((1, 8))))?;
//! assert_eq!(result.output.shape(), [1, 8, 65]);
//! # Ok(())
//! # }
//! ```
//!
//! [`Engine::open`] opens a file that describes its own model: `.keras`, `.h5`, `.onnx`, or a `.safetensors` file
//! written by [`formats::save`]. Weights go from the file to the device without an intermediate copy, and
//! [`EngineBuilder::progress`] reports the progress. [`formats::open`] returns the model and its weights instead.
//!
//! # States
//!
//! An engine keeps no state between calls. Every call returns the final states of each recurrent stack, in PyTorch's
//! order and shapes, and accepts initial ones. So a long sequence can be processed in pieces. (A
//! [`stateful`](layer::Recurrent::stateful) stack, as in Keras, begins where the engine's last call ended.)
//!
//! ```
//! use gatewave::{Device, Engine, Gru, Input, Model, Weights};
//! use ndarray::Array3;
//!
//! # fn main() -> gatewave::Result<()> {
//! let model = Model::new().layer(Gru::new(8, 32));
//! let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;
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
//! [`Streams`] are many independent sequences that arrive in pieces. Each push gives some of them their next frames;
//! their states stay on the device in between.
//!
//! ```
//! use gatewave::{Device, Engine, Lstm, Model, Results, Streams, Weights};
//!
//! # fn main() -> gatewave::Result<()> {
//! let model = Model::new().layer(Lstm::new(2, 16));
//! let engine = Engine::new(&model, &Weights::random(&model, 0)?, Device::Cpu)?;
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
//! With [`Results::Unwanted`] a push only advances the states, and nothing is read back. With [`Results::Deferred`] a
//! push returns as soon as it has been submitted to the device. [`Streams::receive`] then returns the results of the
//! oldest pending push. This lets the host prepare frames and read results while the device computes.
//!
//! Token streams can also generate their own continuation. [`Streams::generate`] samples many tokens in one call, each
//! from the output of the step before it. They are sampled on the device, as configured by
//! [`Sampling`](stream::Sampling).
//!
//! A graph model (several inputs or outputs) can be streamed too, if nothing in it needs future frames. If it has
//! several input sequences, each frame carries a part of every one ([`Streams::push_named`]). If it has several
//! outputs, each has its own results ([`Streams::output`]). An input without a time axis is set once
//! ([`Streams::set_row`]), and so are initial states ([`Streams::set_states`]).
//!
//! # Sequences of different lengths
//!
//! [`Input::lengths`] gives each row its number of steps; rows need not be sorted by length. [`Input::mask`] marks each
//! step separately, so gaps are allowed. At a step that a row lacks, the row keeps its state, and its output is zero.
//! Padding is never read, so it may hold NaN. The reverse direction begins at each row's own last step. PyTorch gives
//! the same results for a `PackedSequence`.
//!
//! # Devices and precision
//!
//! [`Device::Auto`] is the discrete GPU, else the integrated one, else the CPU. [`Engine::device`] says which it was
//! and why. [`Device::Gpu`] is any GPU, or an error that lists the adapters. [`Device::Named`] takes part of an
//! adapter's name. Neither falls back to another device:
//!
//! ```
//! use gatewave::{Device, Engine, ErrorKind, Lstm, Model, Precision, Weights};
//!
//! # fn main() -> gatewave::Result<()> {
//! let model = Model::new().layer(Lstm::new(8, 32));
//! let weights = Weights::random(&model, 0)?;
//!
//! let engine = Engine::builder().device(Device::Cpu).precision(Precision::F16).build(&model, &weights)?;
//! assert_eq!(engine.device().name(), "CPU");
//!
//! let error = Engine::new(model, &weights, Device::Named("voodoo".into())).unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Device);
//! println!("{error}"); // lists the available adapters
//! # Ok(())
//! # }
//! ```
//!
//! # Without blocking, and from many threads
//!
//! [`EngineBuilder::build_async`], [`Engine::run_async`] and the other `async` methods do not block
//! their executor while a device computes. Timers on the same executor fire on time. An engine is `Send` and
//! `Sync`, and calls may overlap. Dropping a future leaves the engine as it was; for streams and trainers, see their
//! documentation for the state that a dropped future leaves them in. For `async` calls, CPU work runs on separate
//! threads, as many as rayon's pool has. Work already started runs to completion, even if its future is dropped.
//!
//! A blocking call computes on rayon's pool; a caller can install its own pool instead. A calling thread outside the
//! pool sleeps meanwhile, and waking it takes time. So a program that calls only from its main thread, on a machine
//! with few cores, should make that thread part of the pool:
//! `rayon::ThreadPoolBuilder::new().use_current_thread().build_global()`, as the command line does. Do not do this if
//! the main thread only waits while other threads make the calls: the pool would then be one thread short.
//!
//! ```
//! use gatewave::{Device, Engine, Input, Model, Rnn, Weights};
//! use ndarray::Array3;
//!
//! # fn main() -> gatewave::Result<()> {
//! let model = Model::new().layer(Rnn::new(4, 16).bidirectional());
//! let weights = Weights::random(&model, 0)?;
//! let output = pollster::block_on(async {
//!     let engine = Engine::builder().device(Device::Cpu).build_async(model, &weights).await?;
//!     engine.run_async(&Input::features(Array3::zeros((3, 5, 4)))).await
//! })?;
//! assert_eq!(output.output.shape(), [3, 5, 32]);
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! No input makes the library panic. An [`Error`]'s message has the form **where: what, expected x, got y; hint**, and
//! its [`kind`](Error::kind) says what a caller can do about it. [`layer`](Error::layer), [`node`](Error::node) and
//! [`tensor`](Error::tensor) give the location in a form that a program can use.
//!
//! # Module overview
//!
//! The crate root exports what most programs need. Everything else is in these modules:
//!
//! - [`layer`]: all layers.
//! - [`interface`]: the named inputs and outputs of a model.
//! - [`train`]: losses, optimizers, and the data sets of tensors that a trainer takes.
//! - [`data`]: reading labelled text, plain-text corpora and time series, and turning them into such data sets.
//! - [`formats`] and [`weights`]: model files, and the tensors in them.
//! - [`device`]: adapters, and what an engine says about its device.
//! - [`stream`]: sequences that arrive frame by frame.
//! - [`parts`]: ONNX graphs around a recurrent core.
//!
//! # How results are checked
//!
//! The oracle computes the textbook equations in f64. Every executor (CPU or GPU) is compared with it on a table of
//! test cases, each with its own tolerance. `gatewave verify` runs the table on any device. The oracle and the table
//! are modules behind the feature `testing`.
//!
//! # Features
//!
//! | feature | default | |
//! | --- | --- | --- |
//! | `gpu` | yes | computes on GPUs, through wgpu; without it the crate builds without wgpu and computes on the CPU |
//! | `keras` | yes | reads `.keras` and `.h5` files |
//! | `onnx` | yes | reads `.onnx` files |
//! | `torch` | yes | reads files written by `torch.save` and weights in `.npz` archives |
//! | `csv` | yes | reads labelled text and time series in `.csv` files |
//! | `foreign` | no | runs those parts of ONNX graphs that are no layers here, through rten, on the host |
//! | `cli` | no | builds the binary `gatewave`; a library does not need it |
//! | `testing` | no | the modules `inspect`, `oracle` and `conformance`, which may change with any version |
//!
//! `.safetensors` files are read without any of these.
//!
//! # Debug builds
//!
//! A debug build of this crate runs several hundred times slower than a release build. Its first engine logs a warning,
//! or prints it on standard error if there is no logger. Build with `--release`. To debug your own code but keep
//! gatewave optimized, add this to your `Cargo.toml`:
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 3
//! debug-assertions = false
//! ```
//!
//! # WebAssembly
//!
//! The library type-checks for `wasm32-unknown-unknown` with any feature but `cli` and `foreign`; it does not run in a browser yet.
//! Blocking methods are left out there: call the `async` counterpart of each. [`formats::read_bytes`] reads a model
//! without a file system.

// Blocking methods, and what only they and the tests of a device use.
#![cfg_attr(
    target_arch = "wasm32",
    allow(dead_code, reason = "a page must not wait, so methods that wait are left out")
)]
// What only tests and the command line use.
#![cfg_attr(
    not(feature = "testing"),
    allow(
        dead_code,
        unreachable_pub,
        unused_imports,
        reason = "compiled without the feature too, where nothing uses it"
    )
)]

// In the order of the road. ARCHITECTURE.md says who may import whom.

// The model, and what every module may use.
mod cell;
mod dropout;
mod error;
mod model;
mod platform;
mod precision;
mod random;
mod summary;
mod table;

// Bytes of a file → a model and named tensors → the model's weights.
pub mod formats;
pub mod weights;

// The arithmetic of an update, and the settings of a training.
mod recipe;
mod rule;

// The input of a call, checked against the model; and tensors by the names of its ports.
mod call;
mod named;

// Losses, which training minimizes.
mod loss;

// Labelled text → named tensors.
pub mod data;

// Where weights and states sit, what kernels are, and a call as data.
mod kernel;
mod layout;
mod pack;
mod plan;

// The executors.
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "gpu_absent.rs"]
mod gpu;

// The façade: an engine and its calls.
mod engine;
mod feed;

// Graphs of which only parts are models.
#[cfg(all(feature = "onnx", not(target_arch = "wasm32")))]
pub mod parts;

// Training.
mod trainer;

// Tests: the oracle, which an engine's self-check uses too, and the table of cases.
#[cfg(feature = "testing")]
pub mod conformance;
#[cfg(not(feature = "testing"))]
mod oracle;
#[cfg(feature = "testing")]
pub mod oracle;

// The public names: the common ones here, all others in modules.
mod api;

#[cfg(feature = "testing")]
pub use api::inspect;
pub use api::{device, interface, layer, stream, train};
pub use call::{Input, Output, States};
pub use cell::Activation;
pub use engine::{Device, DeviceInfo, Engine, EngineBuilder, Streams};
pub use error::{Error, ErrorKind, Result};
pub use model::{Embedding, Gru, Linear, Lstm, Model, OneHot, Rnn, Select};
pub use named::{NamedTensors, Values};
pub use plan::{Results, Strategy};
pub use precision::Precision;
pub use trainer::Trainer;
pub use weights::Weights;

/// Documents of the repository, for readers on docs.rs. Their links to other files lead nowhere here.
#[cfg(all(doc, not(doctest)))]
pub mod _documentation {
    #[doc = include_str!("../ARCHITECTURE.md")]
    pub mod architecture {}
    #[doc = include_str!("../CHANGELOG.md")]
    #[allow(rustdoc::broken_intra_doc_links, reason = "`[Unreleased]` is no link")]
    pub mod changelog {}
}

/// The README, so that its examples are tested too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The tutorials, so that their examples are tested too.
#[cfg(doctest)]
#[doc = include_str!("../docs/tutorials.md")]
struct Tutorials;

/// And those of the pages that show calls.
#[cfg(doctest)]
#[doc = include_str!("../docs/which-call.md")]
struct WhichCall;
#[cfg(doctest)]
#[doc = include_str!("../docs/python.md")]
struct FromPython;
