//! What a kernel is: its name, its bindings, the parts it is linked from, its overrides and its grid.
//!
//! Declared once, here, in [`catalog`] and in [`Program`]; pipeline layouts, bind groups, `plan::check`, the CPU executor and
//! the labels read these constants, and `tests/shaders.rs` proves with naga that the WGSL says the same.
//! Knows cells; knows no plan, no model and no device.
//!
//! # Data layouts
//!
//! Letters: T time, B batch, K depth of a product, G gates, D directions, P panels, z the workgroup's z.
//! Every feature axis is padded to a multiple of [`LANES`] = 16 with zeros, so that no kernel has a remainder loop;
//! features in several parts (the directions of a bidirectional layer) are padded part by part.
//!
//! - **matrix** (product weights): `[D][P][K + 1 + E][G][16]`, f32 or packed halves. Panel p holds units 16p … 16p+15.
//!   Of 8-bit integers the K rows alone are, each four units a word; behind them a panel has a row of scales more, `[G][16]`
//!   like the bias, all in f32.
//!   Row K of a panel is the bias. Row K + 1, where an LSTM has peepholes (E = 1), is theirs, gate by gate; the gate cell
//!   has none: zero. K and P count padded features.
//!   A run of L layers has 2L − 1 of them in the place of D: the recurrent one of the first layer, then the input product and
//!   the recurrent one of each further layer.
//! - **table** (gather): `[D][V][width]`, f32 or packed halves.
//! - **sequence** (input, outputs, hidden states): `[R][B][width]`, width = D · padded part size.
//! - **gates** (the hoisted input product): `[D][C][B][P][G][16]`, C timesteps of a chunk, ascending in time.
//! - **memory** (what a cell keeps beside its hidden state): `[M][B][D · padded H]`.
//! - **live**, **tokens**: `[T][B]` u32; live of held outputs (`Feed::Seen`) `[2][T][B]`; tokens that are drawn `[T + 1][B]`.
//! - **draws**: `[B]` [`Draw`]s, how each row's tokens are drawn.
//! - **product**, **direct**, **carry** of training: `[D][B][padded units]`, what a step back hands to the one before it.

#![deny(clippy::wildcard_enum_match_arm)]

mod binding;
pub mod catalog;
mod derived;
mod draw;
pub mod link;
mod params;
mod program;
mod row_loss;
mod storage;
mod training;

pub use binding::{Access, Binding, Role, When};
pub use draw::{Draw, NO_TOKEN};
pub use params::Params;
pub use program::{Half, Join, Matrix, Program, Project, Step, StepProject};
pub use row_loss::{RowLoss, RowTargets};
pub use storage::{Medium, Storage};
pub use training::{CellBack, NO_ROLE, Outer, StepBack, Training, kept_gates};

use crate::cell::{Activation, Constant, Functions};

/// Units of a panel; every feature axis is padded to a multiple of it.
pub const LANES: usize = 16;

/// `size` rounded up to a multiple of [`LANES`].
pub fn padded(size: usize) -> usize {
    size.next_multiple_of(LANES)
}

/// Rows of an LSTM's memory: the cell state alternates between rows 0 and 1.
/// A projected LSTM has a third row for the state before its projection.
pub const MEMORY_UNPROJECTED: usize = 2;
/// Row of the memory where GRU's `r ∘ h` waits for the second product (reset before the product).
pub const MEMORY_RESET: usize = 0;
/// Row of the memory where GRU's update gate waits for the second product (reset before the product).
pub const MEMORY_UPDATE: usize = 1;

/// Rows of what goes past the products, on the way back: of the hidden state, and of the cell state.
pub const PAST_HIDDEN: usize = 0;
/// The other one.
pub const PAST_CELL: usize = 1;

/// The word of an exchange that stands where nothing is yet: the bits of a NaN that no state is handed on as.
pub const EMPTY: u32 = u32::MAX;
/// The bits of a NaN that stand where nobody has written yet, where that is to show. It is a signaling one, which arithmetic
/// makes quiet: nothing that is computed has these bits, not even from what they stand for.
pub const POISON: u32 = 0x7fa0_dead;
/// Turns of waiting that a workgroup of [`Kernel::Persistent`] has in all, sixteen looks each: some tens of milliseconds on a
/// CPU, which it may be kept from running by other programs, and a fraction of what watchdogs of desktops wait for on a GPU.
pub const PATIENCE: u32 = 49_152;

/// A kernel: the stem of its file under `shaders/kernel/`, its entry point, its label, its CPU function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kernel {
    /// `target[z][m] = f(source[m] · matrix[z] + bias)`: many rows at once.
    Project,
    /// One timestep of RNN, LSTM or GRU (reset after): product, cell, state.
    Step,
    /// One timestep of each of some layers, every one a step behind the one it takes its input from.
    Diagonal,
    /// Many timesteps of RNN, LSTM or GRU (reset after), their states kept from step to step.
    Scan,
    /// What `Scan` does, by workgroups that have some of the units each and hand each other the hidden state.
    Persistent,
    /// An exchange of `Persistent` in which nothing is yet.
    Clear,
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
    Pick,
    /// A sequence with zeros where there is no step.
    Blank,
    /// The outputs of two directions combined.
    Merge,
    /// Features of one value, put among those of another or combined with them.
    Join,
    /// Softmax or log-softmax over the features of each row.
    Softmax,
    /// An elementwise activation.
    Activate,
    /// One token a row, drawn from its logits.
    Sample,
    /// Training: one timestep of RNN, LSTM or GRU (reset after) back: product, cell, gradients.
    StepBack,
    /// Training: many timesteps of one back, what goes from step to step kept.
    ScanBack,
    /// Training: the way back through the cell of a timestep of an LSTM that projects its state.
    CellBack,
    /// Training: `r ∘ h` of GRU with the reset before the product, many rows at once.
    ResetRows,
    /// Training: the way back through the second half of a timestep of GRU with the reset before the product.
    NewBack,
    /// Training: the way back through the first half.
    ResetBack,
    /// Training: the gradient of a projected state.
    StateBack,
    /// Training: the gradient of a matrix and its bias.
    Outer,
    /// Training: the gradient of peepholes.
    PeepholeBack,
    /// Training: a matrix turned.
    Transpose,
    /// Training: the way back through an elementwise activation.
    ActivateBack,
    /// Training: the way back through softmax or log-softmax.
    SoftmaxBack,
    /// Training: the way back through the larger of two values.
    MaximumBack,
    /// Training: the sum of a sequence over its steps.
    SumSteps,
    /// Training: the gradient of a table.
    Scatter,
    /// Training: elements dropped at random, forward and back.
    Drop,
    /// Training: a copy of each row for each gate of a product, each with elements of its own dropped.
    Spread,
    /// Training: the way back through it.
    SpreadBack,
    /// Training: zeros.
    Zero,
    /// Training: numbers of a buffer in a texture.
    ToTexture,
    /// Training: what each row of outputs loses, and how it is to change.
    Loss,
    /// Training: gradients, or weights, of two layouts of one tensor that become one.
    Tie,
    /// Training: sums of the squares of gradients.
    Squares,
    /// Training: the sum of some numbers.
    Total,
    /// Training: new weights in place of the old.
    Update,
}

/// What a step does with its states: which buffers it has, and what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// The hidden state alone (RNN, GRU).
    Hidden,
    /// The hidden state and the cell state in `memory` (LSTM).
    Memory,
    /// As `Memory`, but the hidden state goes to row [`MEMORY_UNPROJECTED`] of `memory`, for [`Kernel::StepProject`].
    Projected,
}

/// How the outputs of two directions become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Combine {
    /// They are added.
    #[default]
    Sum,
    /// Their mean.
    Average,
    /// They are multiplied.
    Product,
}

/// What becomes of a feature of the target, `old`, and the feature of the source that it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JoinOp {
    /// The source.
    #[default]
    Set,
    /// Their sum.
    Add,
    /// `old − source`.
    Subtract,
    /// Their product.
    Multiply,
    /// The larger one; NaN where one of them is.
    Maximum,
}

impl JoinOp {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Set, Self::Add, Self::Subtract, Self::Multiply, Self::Maximum];
}

/// Whether every row has a step at every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mask {
    /// Every row is live at every time: no mask is bound.
    All,
    /// `live[t][b]` says it: a dead step keeps the state.
    Live,
}

/// How a product is cut over invocations. The CPU executor does not read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows (of the batch, or of the hoisted product) that an invocation computes: one of [`Loads::rows`]. A linked part.
    pub rows: u32,
    /// Who loads the elements of the rows. A linked part, together with `rows`.
    pub loads: Loads,
    /// Panels of 16 units that a workgroup computes, each of them as many as are `wide`. An override.
    pub panels: u32,
    /// Panels of one gate that an invocation computes: what it loads of the source serves them all. More than one only of
    /// `Project` and `StepBack`. A linked part.
    pub wide: u32,
    /// A step: lanes that share one output and split K, a power of two; `Diagonal`: half of them for each of the two
    /// products, at least 2. `Project`: tiles of rows that a workgroup computes. An override.
    pub slices: u32,
    /// `Persistent`: panels of the layer, of which a workgroup has `panels`. An override. 0 elsewhere.
    pub layer: u32,
    /// `Scan`, `Persistent`, `ScanBack`: rows of the depth whose weights an invocation keeps in registers, all that it multiplies; 0 where it loads
    /// them at every step. A linked part.
    pub held: u32,
}

impl Tile {
    /// No product.
    pub const NONE: Self = Self { rows: 1, loads: Loads::Lane, panels: 1, wide: 1, slices: 1, layer: 0, held: 0 };

    /// How wide a tile can be.
    pub const WIDE: u32 = 4;

    /// The rows of the depth that can be held: those for which there is a part.
    pub const HELD: [u32; 6] = [4, 8, 16, 32, 48, 64];
}

/// Who loads the elements of the source's rows that the invocations of a workgroup multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loads {
    /// Each invocation all of them: a GPU serves equal addresses at once.
    Lane,
    /// The lanes of a subgroup together, each one of the rows, which it broadcasts. All invocations of the workgroup have
    /// the same rows, and each of its subgroups has [`Loads::LANES`] lanes at least.
    Subgroup,
}

impl Loads {
    /// The lanes of a subgroup that load.
    pub const LANES: u32 = 8;

    /// The rows of a tile for which there is a part, ascending.
    pub fn rows(self) -> &'static [u32] {
        match self {
            Self::Lane => &[1, 2, 4, 8],
            Self::Subgroup => &[8],
        }
    }
}

/// The functions of an RNN that has parts of its own.
const RELU: Functions = Functions { f: Activation::Relu, ..Functions::NONE };

/// The value of a constant as WebGPU takes it: an infinity is the largest number there is.
fn finite(constant: Constant) -> f64 {
    constant.get().clamp(f32::MIN, f32::MAX).into()
}

/// Invocations of a workgroup of the kernels without a step's tile.
pub const WORKGROUP: u32 = 64;

/// What kind of work a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// A product of many rows.
    Product,
    /// A part of a timestep, or one of each of some layers.
    Step,
    /// Many timesteps of a layer.
    Walk,
    /// Rows from rows, without a product.
    Rows,
}

impl Kernel {
    fn family(self) -> Family {
        match self {
            Self::Project => Family::Product,
            Self::Step | Self::Diagonal | Self::StepReset | Self::StepNew | Self::StepProject | Self::StepBack => {
                Family::Step
            }
            Self::Scan | Self::Persistent | Self::ScanBack => Family::Walk,
            Self::Clear
            | Self::Gather
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge
            | Self::Join
            | Self::Softmax
            | Self::Activate
            | Self::Sample
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

    /// Whether the kernel is a part of a timestep, or some of them.
    pub fn is_step(self) -> bool {
        matches!(self.family(), Family::Step | Family::Walk)
    }

    /// Whether it is many timesteps of a layer.
    pub fn is_walk(self) -> bool {
        self.family() == Family::Walk
    }
}
