//! What a kernel is: its name, its bindings, the parts that it is linked from, its overrides and its grid.
//!
//! A kernel is declared once: here, in [`catalog`] and in [`Program`]. Pipeline
//! layouts, bind groups, `plan::check`, the CPU executor and the labels read these
//! constants. `tests/shaders.rs` proves with naga that the WGSL agrees with them.
//!
//! Knows cells; knows no plan, no model and no device.
//!
//! # Data layouts
//!
//! Letters: T time, B batch, K depth of a product, G gates, D directions, P panels, z the workgroup's z.
//!
//! Every feature axis is padded with zeros to a multiple of [`LANES`] = 16, so that no kernel has a remainder
//! loop. Features in several parts, such as the directions of a bidirectional layer, are padded part by part.
//!
//! - **matrix** (product weights): `[D][P][K + 1 + E][G][16]`, f32 or packed
//!   halves. Panel p holds units 16p … 16p+15. K and P count padded features.
//!   - Of 8-bit integers, only the K rows are integers, each four units a word. Behind them a panel has
//!     one more row, the scales: `[G][16]`, like the bias. Scales, bias and peepholes are f32.
//!   - Row K of a panel is the bias. If an LSTM has peepholes, E is 1 and row K + 1 holds
//!     them, gate by gate. The cell gate has none: its entries are zero.
//!   - A wavefront of L layers has 2L − 1 matrices instead of D. The recurrent one of the first layer
//!     comes first, then the input matrix and the recurrent one of each further layer.
//! - **table** (gather): `[D][V][width]`, f32 or packed halves.
//! - **sequence** (input, outputs, hidden states): `[R][B][width]`, width = D · padded part size.
//! - **gates** (the input product): `[D][C][B][P][G][16]`, C timesteps of a chunk, ascending in time.
//! - **`cell_state`** (of an LSTM) and **scratch** (of a GRU
//!   with the reset before the product): `[M][B][D · padded H]`.
//! - **live**, **tokens**: `[T][B]` u32. Live of carried outputs (`Feed::Started`)
//!   is `[2][T][B]`, and tokens that are drawn are `[T + 1][B]`.
//! - **draws**: `[B]` [`Draw`]s, how each row's tokens are drawn.
//! - **product**, **direct**, **carry** of training: `[D][B][padded units]`,
//!   what each step of the backward pass hands to the timestep before it.

#![deny(clippy::wildcard_enum_match_arm)]

mod across;
mod attention;
mod binding;
pub mod catalog;
mod convolve;
mod derived;
mod draw;
pub mod link;
mod norm;
mod params;
mod program;
mod row_loss;
mod storage;
mod training;

pub use across::{Across, Pool, PoolOp};
pub use attention::{Attend, ScoresBackOf, Scoring};
pub use binding::{Access, Binding, Role, When};
pub use convolve::{Band, Convolve};
pub use draw::{Draw, NO_TOKEN};
pub use norm::Norm;
pub use params::Params;
pub use program::{Gemm, Half, Join, Matrix, Program, Step, StepProject};
pub use row_loss::{RowLoss, RowTargets};
pub use storage::Medium;
pub use training::{CellBack, NO_ROLE, Outer, StepBack, Training, kept_gates};

use crate::cell::{Activation, Constant, Functions};

/// Units of a panel. Every feature axis is padded to a multiple of it.
pub const LANES: usize = 16;

/// Returns `size` rounded up to a multiple of [`LANES`].
pub fn padded(size: usize) -> usize {
    size.next_multiple_of(LANES)
}

/// The row of an LSTM's `cell_state` that holds a projected LSTM's state before
/// its projection. The newest cell state alternates between rows 0 and 1.
pub const CELL_UNPROJECTED: usize = 2;
/// The row of the scratch that holds `r ∘ h` for the second product (GRU, reset before the product).
pub const SCRATCH_RESET: usize = 0;
/// The row of the scratch that holds the update gate for the second half (GRU, reset before the product).
pub const SCRATCH_UPDATE: usize = 1;

/// The row of `past` that holds what bypasses the products in the backward pass, of the hidden state.
pub const PAST_HIDDEN: usize = 0;
/// The row of `past` for the cell state.
pub const PAST_CELL: usize = 1;

/// The word of a mailbox that nothing has been written to: the bits of a NaN that no handed-on state has.
pub const EMPTY: u32 = u32::MAX;
/// The word that marks memory as not yet written, if tests ask for it. It is a signaling NaN, which
/// arithmetic makes quiet: no computed value has these bits, even if it comes from such a word.
pub const POISON: u32 = 0x7fa0_dead;
/// The most turns that a workgroup of [`Kernel::Persistent`] waits in all, with sixteen looks in
/// each. They take some tens of milliseconds on a CPU, where other programs may keep workgroups
/// from running. On a GPU they take a fraction of the time after which a desktop's watchdog acts.
pub const SPIN_LIMIT: u32 = 49_152;

/// A kernel: the stem of its file under `shaders/kernel/`, its entry point, its label, its CPU function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// `target[z][m] = f(source[m] · matrix[z] + bias)`: many rows at once.
    Gemm,
    /// One timestep of RNN, LSTM or GRU (reset after): product, cell, state.
    Step,
    /// One timestep of each of several layers, each one step behind the layer that feeds it.
    Wavefront,
    /// Many timesteps of RNN, LSTM or GRU (reset after), with states that are kept from step to step.
    Scan,
    /// What `Scan` does, by workgroups that each have some of the units and hand each other the hidden state.
    Persistent,
    /// Empties a mailbox of `Persistent`.
    ResetMailbox,
    /// First half of a timestep of GRU with the reset before the product: gates reset and update.
    StepReset,
    /// Second half: the new gate, and the state.
    StepNew,
    /// Second half of a timestep of a projected LSTM: the projection.
    StepProject,
    /// Rows of a table by token.
    Gather,
    /// Unit vectors by token.
    OneHot,
    /// One row of the sequence for each direction.
    FinalState,
    /// A sequence with zeros at dead steps.
    MaskOutputs,
    /// The outputs of two directions combined.
    Merge,
    /// Features of one value, placed among those of another or combined with them.
    Join,
    /// Softmax or log-softmax over the features of each row.
    Softmax,
    /// An elementwise activation.
    Activate,
    /// The features of each row, normalised.
    Normalize,
    /// One token for each row, drawn from its logits.
    Sample,
    /// What the live steps of each row come to.
    Pool,
    /// Training: the backward pass of `Pool`.
    PoolBack,
    /// The numbers of each row in another shape.
    Rearrange,
    /// What the steps of windows come to.
    WindowPool,
    /// Training: the backward pass of `WindowPool`.
    WindowBack,
    /// Attention: the scores of steps for rows of a query.
    Scores,
    /// Attention: a softmax over the steps that a row sees.
    Shares,
    /// Attention: sums of rows by shares.
    Blend,
    /// Training: the backward pass of scores that are no products.
    ScoresBack,
    /// A convolution over steps: a product whose taps read rows of their own.
    Conv,
    /// Training: the gradient of what a convolution takes.
    ConvBack,
    /// Training: the gradient of the matrix of a convolution and its bias.
    ConvOuter,
    /// Training: the backward pass of one timestep of RNN, LSTM or GRU (reset after): product, cell, gradients.
    StepBack,
    /// Training: the backward pass of many timesteps, with what passes between them kept.
    ScanBack,
    /// Training: the backward pass through the cell of a timestep of an LSTM that projects its state.
    CellBack,
    /// Training: `r ∘ h` of a GRU with the reset before the product, many rows at once.
    ResetRows,
    /// Training: the backward pass of the second half of a timestep of a GRU with the reset before the product.
    NewBack,
    /// Training: the backward pass of the first half.
    ResetBack,
    /// Training: the gradient of a projected state.
    StateBack,
    /// Training: the gradient of a matrix and its bias.
    Outer,
    /// Training: the gradient of peepholes.
    PeepholeBack,
    /// Training: a matrix transposed.
    Transpose,
    /// Training: the backward pass of an elementwise activation.
    ActivateBack,
    /// Training: the backward pass of softmax or log-softmax.
    SoftmaxBack,
    /// Training: the backward pass of `Normalize`.
    NormalizeBack,
    /// Training: the backward pass of the larger of two values.
    MaximumBack,
    /// Training: the sum of a sequence over its steps.
    SumSteps,
    /// Training: the gradient of a table.
    Scatter,
    /// Training: elements dropped at random, in the forward and the backward pass.
    Drop,
    /// Training: a copy of each row for each gate of a product, each with its own elements dropped.
    Spread,
    /// Training: the backward pass of `Spread`.
    SpreadBack,
    /// Training: zeros.
    Zero,
    /// Training: a copy of a buffer's numbers into a texture.
    ToTexture,
    /// Training: the loss of each row of outputs, and its gradient.
    Loss,
    /// Training: the sum of two gradients, or copies of weights, of one tensor in two layouts.
    Tie,
    /// Training: sums of the squares of gradients.
    Squares,
    /// Training: the sum of some numbers.
    Total,
    /// Training: new weights, which replace the old.
    Update,
}

/// How a step handles its states: which buffers it has, and what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// The hidden state alone (RNN, GRU).
    Hidden,
    /// The hidden state and the cell state in `cell_state` (LSTM).
    Cell,
    /// As `Cell`, but the hidden state goes to row [`CELL_UNPROJECTED`] of `cell_state`, for [`Kernel::StepProject`].
    Projected,
}

/// How the outputs of two directions are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Combine {
    /// Their sum.
    #[default]
    Sum,
    /// Their mean.
    Average,
    /// Their product.
    Product,
}

/// How a feature of the target, `old`, is combined with a feature of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JoinOp {
    /// The source's feature.
    #[default]
    Set,
    /// Their sum.
    Add,
    /// `old − source`.
    Subtract,
    /// Their product.
    Multiply,
    /// The larger one, or NaN if either is NaN.
    Maximum,
}

impl JoinOp {
    /// Every operation.
    pub const ALL: [Self; 5] = [Self::Set, Self::Add, Self::Subtract, Self::Multiply, Self::Maximum];
}

/// Whether every row has a step at every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mask {
    /// Every row is live at every time: no mask is bound.
    All,
    /// `live[t][b]` says whether row b has a step at time t. A dead step keeps the state.
    Live,
}

/// How a product is cut over invocations. The CPU executor ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows of the batch, or of the input product, that an invocation computes: one of [`Loads::rows`]. A linked part.
    pub rows: u32,
    /// Who loads the elements of the rows. A linked part, together with `rows`.
    pub loads: Loads,
    /// Panels of 16 units that a workgroup computes, `wide` of them in each invocation. An override.
    pub panels: u32,
    /// Panels of one gate that an invocation computes, all from the same loads of
    /// the source. Only `Gemm` and `StepBack` may have more than one. A linked part.
    pub wide: u32,
    /// Steps: lanes that share one output and split K, a power of two. `Wavefront`: half of them for each
    /// of the two products, so at least 2. `Gemm`: tiles of rows that a workgroup computes. An override.
    pub slices: u32,
    /// `Persistent`: panels of the layer, of which a workgroup has `panels`. Other kernels have 0. An override.
    pub layer: u32,
    /// `Scan`, `Persistent`, `ScanBack`: rows of the depth whose weights an invocation keeps in
    /// registers. They are all that it multiplies, or 0 if it loads weights at every step. A linked part.
    /// them at every step. A linked part.
    pub held: u32,
}

impl Tile {
    /// The tile of a kernel without a product.
    pub const NONE: Self = Self { rows: 1, loads: Loads::Lane, panels: 1, wide: 1, slices: 1, layer: 0, held: 0 };

    /// The widest tile.
    pub const WIDE: u32 = 4;

    /// The numbers of rows of the depth that can be held: those that have a part.
    pub const HELD: [u32; 6] = [4, 8, 16, 32, 48, 64];
}

/// Who loads the elements of the source's rows that the invocations of a workgroup multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loads {
    /// Each invocation loads all of them: a GPU serves equal addresses at once.
    Lane,
    /// The lanes of a subgroup load together: each loads one row and broadcasts it. All invocations
    /// of the workgroup have the same rows, and each subgroup has at least [`Loads::LANES`] lanes.
    Subgroup,
}

impl Loads {
    /// The lanes of a subgroup that load.
    pub const LANES: u32 = 8;

    /// Returns the numbers of rows for which there is a part, ascending.
    pub fn rows(self) -> &'static [u32] {
        match self {
            Self::Lane => &[1, 2, 4, 8],
            Self::Subgroup => &[8],
        }
    }
}

/// The functions of an RNN that has parts of its own.
const RELU: Functions = Functions { f: Activation::Relu, ..Functions::NONE };

/// Returns the value of a constant for WebGPU, with the largest f32 for infinity.
fn finite(constant: Constant) -> f64 {
    constant.get().clamp(f32::MIN, f32::MAX).into()
}

/// Invocations of a workgroup, for kernels without a step's tile.
pub const WORKGROUP: u32 = 64;

/// The kind of work that a kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// A product of many rows.
    Product,
    /// A part of a timestep, or one timestep of several layers.
    Step,
    /// Many timesteps of a layer.
    Walk,
    /// Rows from rows, without a product.
    Rows,
}

impl Kernel {
    fn family(self) -> Family {
        match self {
            Self::Gemm | Self::Conv => Family::Product,
            Self::Step | Self::Wavefront | Self::StepReset | Self::StepNew | Self::StepProject | Self::StepBack => {
                Family::Step
            }
            Self::Scan | Self::Persistent | Self::ScanBack => Family::Walk,
            Self::ResetMailbox
            | Self::Gather
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge
            | Self::Join
            | Self::Softmax
            | Self::Activate
            | Self::Normalize
            | Self::Sample
            | Self::Pool
            | Self::PoolBack
            | Self::Rearrange
            | Self::WindowPool
            | Self::WindowBack
            | Self::Scores
            | Self::Shares
            | Self::Blend
            | Self::ScoresBack
            | Self::ConvBack
            | Self::ConvOuter
            | Self::CellBack
            | Self::ResetRows
            | Self::NewBack
            | Self::ResetBack
            | Self::StateBack
            | Self::Outer
            | Self::PeepholeBack
            | Self::Transpose
            | Self::ActivateBack
            | Self::SoftmaxBack
            | Self::NormalizeBack
            | Self::MaximumBack
            | Self::SumSteps
            | Self::Scatter
            | Self::Drop
            | Self::Spread
            | Self::SpreadBack
            | Self::Zero
            | Self::ToTexture
            | Self::Loss
            | Self::Tie
            | Self::Squares
            | Self::Total
            | Self::Update => Family::Rows,
        }
    }

    /// Whether the kernel is a product, cut by a tile.
    pub fn is_product(self) -> bool {
        self.family() != Family::Rows
    }

    /// Whether the kernel is a part of a timestep, or computes several.
    pub fn is_step(self) -> bool {
        matches!(self.family(), Family::Step | Family::Walk)
    }

    /// Whether the kernel computes many timesteps of a layer.
    pub fn is_walk(self) -> bool {
        self.family() == Family::Walk
    }
}
