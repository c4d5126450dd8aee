//! The public modules, which gather names from several rooms of the crate. The crate's
//! root has the names that most programs use as well.

/// Layers, their cells and functions, and what flows between them.
///
/// A layer is a struct with setters, and [`Model::layer`](crate::Model::layer) takes it.
/// [`LayerKind`](layer::LayerKind) is any layer.
pub mod layer {
    pub use crate::cell::{Activation, Cell, Constant, Coupling, Functions, Peepholes, Reset, Variant};
    pub use crate::model::{
        Attention, BatchNorm, Bias, Conv1d, ConvPadding, Direction, Dropout, DropoutUnit, Embedding, Features, Flatten,
        Flow, GlobalPool, Gru, Initial, Join, L2Norm, Layer, LayerKind, LayerNorm, Linear, Lstm, Masking, Merge,
        OneHot, PRelu, PadMode, PadSteps, Padding, Permute, PoolPadding, Recurrent, Reduce, Repeat, Reshape, RmsNorm,
        Rnn, Role, Scores, Select, Slice, SliceSteps, StateLifetime, WindowPool,
    };
    pub use crate::summary::Summary;
}

/// The named inputs and outputs of a model, the values between its layers, and the named tensors of a call.
pub mod interface {
    pub use crate::call::{Element, IntoNumbers, Sequence};
    pub use crate::model::{
        Axes, Dim, Graph, InputKind, InputPort, InputValue, ModelInput, ModelOutput, Node, OutputPort, OutputValue,
        Pin, Ports, Required, Sources, State, Value, WeightPart,
    };
}

/// Training: losses, optimizers and schedules, batches and data sets, and the course of a fit.
///
/// A [`Trainer`](train::Trainer) owns the model. [`Trainer::step`](train::Trainer::step) updates its weights from one
/// [`Batch`](train::Batch); [`Trainer::fit`](train::Trainer::fit) goes through a [`Dataset`](train::Dataset).
pub mod train {
    pub use crate::loss::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, Objective, Targets, Term};
    pub use crate::named::Examples;
    pub use crate::recipe::{
        Adam, AdamW, Clip, Convention, L2, Measure, Optimizer, Plateau, PlateauState, RmsProp, Schedule, Sgd, Update,
        WeightDecay,
    };
    pub use crate::trainer::{
        Batch, Dataset, EarlyStopping, Epoch, Fit, FitEnd, FitEvent, FitPosition, Fitting, Gradients, Measures, Metric,
        Trained, Trainer,
    };
}

/// Where an engine computes: the choice of a device, what that device is, and the time that a call took.
pub mod device {
    pub use crate::engine::{Checked, Device, DeviceInfo, Loading, SelfCheck};
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    pub use crate::gpu::adapters;
    #[cfg(feature = "gpu")]
    pub use crate::gpu::{AdapterInfo, AdapterKind};
    pub use crate::plan::{Strategy, Timings};
    pub use crate::precision::Precision;
}

/// Sequences that arrive frame by frame, and tokens that are drawn one by one.
pub mod stream {
    pub use crate::engine::{FrameValue, Sampling, StreamId, Streams};
    pub use crate::plan::Results;
}

/// What tests and the command line see of an engine: plans, kernels, counts, and
/// where weights sit. It may change with any version.
#[cfg(feature = "testing")]
pub mod inspect {
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::engine::KernelTime;
    pub use crate::engine::Planner;
    pub use crate::model::{check_steps, steps_over};
    pub use crate::trainer::in_memory::lengths_of_mask;
    pub use crate::weights::replace::Replacement;
    pub use crate::weights::tensors::non_finite_warning;

    /// The kernels: what each computes, and their WGSL.
    pub mod kernel {
        pub use crate::kernel::*;
    }

    /// Arrays of NumPy, as files hold them.
    #[cfg(feature = "torch")]
    pub mod numpy {
        pub use crate::formats::numpy::head::*;
    }

    /// Where weights and states sit in buffers.
    pub mod layout {
        pub use crate::layout::*;
    }

    /// A call as data: slots, programs and steps.
    pub mod plan {
        pub use crate::plan::*;
    }

    /// The arithmetic of an update.
    pub mod rule {
        pub use crate::rule::*;
    }
}
