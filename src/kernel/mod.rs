//! What a kernel is: its name, its bindings, the parts it is linked from, its overrides and its grid.
//!
//! Declared once, here and in [`catalog`]; pipeline layouts, bind groups, `plan::check`, the CPU executor and
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

pub mod catalog;
mod draw;
pub mod link;
mod params;
mod storage;

pub use draw::{Draw, NO_TOKEN};
pub use params::Params;
pub use storage::{Medium, Storage};

use crate::cell::{Activation, Cell, Constant, Functions, Peepholes, Variant};

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

/// The word of an exchange that stands where nothing is yet: the bits of a NaN that no state is handed on as.
pub const EMPTY: u32 = u32::MAX;
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
    /// Softmax or log-softmax over the features of each row.
    Softmax,
    /// An elementwise activation.
    Activate,
    /// One token a row, drawn from its logits.
    Sample,
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

/// Whether every row has a step at every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mask {
    /// Every row is live at every time: no mask is bound.
    All,
    /// `live[t][b]` says it: a dead step keeps the state.
    Live,
}

/// A kernel with everything that is fixed when it is compiled: one pipeline on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// The kernel.
    pub kernel: Kernel,
    /// The cell that is linked in, for the kernels that have one. `Project`: the cell whose gates it computes.
    pub cell: Option<Cell>,
    /// How a step departs from what its cell alone stands for. [`Variant::NONE`] where the kernel has no cell, and in
    /// `Project`, which knows no function of it.
    pub variant: Variant,
    /// What a step does with its states. `Hidden` where the kernel has none.
    pub states: StateKind,
    /// How the weights are stored. `F32` where the kernel has none.
    pub storage: Storage,
    /// What holds the matrix of a product. `Buffer` where the kernel has none.
    pub medium: Medium,
    /// Whether a mask is bound. `All` where the kernel takes none.
    pub mask: Mask,
    /// `Project`: what the product goes through. `Activate`, `Softmax`: which. `Linear` elsewhere.
    pub activation: Activation,
    /// `Merge`: how. `Sum` elsewhere.
    pub combine: Combine,
    /// The tile of a product. [`Tile::NONE`] where the kernel has no product.
    pub tile: Tile,
}

/// How a product is cut over invocations. The CPU executor does not read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows (of the batch, or of the hoisted product) that an invocation computes: one of [`Loads::rows`]. A linked part.
    pub rows: u32,
    /// Who loads the elements of the rows. A linked part, together with `rows`.
    pub loads: Loads,
    /// Panels of 16 units that a workgroup computes. An override.
    pub panels: u32,
    /// A step: lanes that share one output and split K, a power of two; `Diagonal`: half of them for each of the two
    /// products, at least 2. `Project`: tiles of rows that a workgroup computes. An override.
    pub slices: u32,
    /// `Persistent`: panels of the layer, of which a workgroup has `panels`. An override. 0 elsewhere.
    pub layer: u32,
    /// `Scan`, `Persistent`: rows of the depth whose weights an invocation keeps in registers, all that it multiplies; 0 where it loads
    /// them at every step. A linked part.
    pub held: u32,
}

impl Tile {
    /// No product.
    pub const NONE: Self = Self { rows: 1, loads: Loads::Lane, panels: 1, slices: 1, layer: 0, held: 0 };

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

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// The uniform `Params`, at a dynamic offset.
    Uniform,
    /// Read-only storage.
    Read,
    /// A texture of floats whose texels are loaded.
    Texture,
    /// One of integers.
    IntegerTexture,
    /// Storage that is read and written.
    ReadWrite,
}

/// When a binding is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// In every program.
    Always,
    /// In programs with [`Mask::Live`].
    Masked,
    /// In programs with a memory: `states` is not [`StateKind::Hidden`].
    Memory,
    /// In programs whose hidden state waits for its projection.
    Projected,
    /// In programs that write the hidden state themselves.
    Unprojected,
}

/// One binding: the WGSL variable's name is the slot's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The binding's index in group 0.
    pub index: u32,
    /// The WGSL variable's name.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
    /// When it is there.
    pub when: When,
}

/// The functions of an RNN that has parts of its own.
const RELU: Functions = Functions { f: Activation::Relu, ..Functions::NONE };

/// The value of a constant as WebGPU takes it: an infinity is the largest number there is.
fn finite(constant: Constant) -> f64 {
    constant.get().clamp(f32::MIN, f32::MAX).into()
}

/// Invocations of a workgroup of the kernels without a step's tile.
pub const WORKGROUP: u32 = 64;

impl Program {
    /// A program of a kernel without cell, mask, weights or activation.
    pub fn plain(kernel: Kernel) -> Self {
        Self {
            kernel,
            cell: None,
            variant: Variant::NONE,
            states: StateKind::Hidden,
            storage: Storage::F32,
            medium: Medium::Buffer,
            mask: Mask::All,
            activation: Activation::Linear,
            combine: Combine::Sum,
            tile: Tile::NONE,
        }
    }

    /// The bindings of this program, in order; the first is always `params`.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> + '_ {
        let here = self.kernel.declaration().bindings.iter().filter(|binding| match binding.when {
            When::Always => true,
            When::Masked => self.mask == Mask::Live,
            When::Memory => self.states != StateKind::Hidden,
            When::Projected => self.states == StateKind::Projected,
            When::Unprojected => self.states != StateKind::Projected,
        });
        here.map(|&binding| match (self.medium, self.storage) {
            (Medium::Texture, _) if binding.name != "weights" => binding,
            (Medium::Texture, Storage::I8) => Binding { access: Access::IntegerTexture, ..binding },
            (Medium::Texture, _) => Binding { access: Access::Texture, ..binding },
            (Medium::Buffer, _) => binding,
        })
    }
}

impl Kernel {
    /// Whether the kernel is a product, cut by a tile.
    pub fn is_product(self) -> bool {
        self.is_step() || self == Self::Project
    }

    /// Whether the kernel is a part of a timestep, or some of them.
    pub fn is_step(self) -> bool {
        self.is_walk()
            || matches!(self, Self::Step | Self::Diagonal | Self::StepReset | Self::StepNew | Self::StepProject)
    }

    /// Whether it is many timesteps of a layer.
    pub fn is_walk(self) -> bool {
        matches!(self, Self::Scan | Self::Persistent)
    }
}

impl Program {
    /// G of the product that the program computes; 1 where it has none.
    #[allow(clippy::cast_possible_truncation, reason = "a cell has at most four gates")]
    pub fn product_gates(&self) -> u32 {
        match (self.kernel, self.cell) {
            (Kernel::StepReset, _) => 2,
            (Kernel::StepNew | Kernel::StepProject, _) => 1,
            (_, Some(cell)) => cell.gates() as u32,
            _ => 1,
        }
    }

    /// Rows of a panel of the weights after those of the depth: the bias, and an LSTM's peepholes.
    pub fn rows_after_depth(&self) -> u32 {
        match (self.kernel, self.variant.peepholes) {
            (Kernel::Step | Kernel::Scan | Kernel::Persistent, Peepholes::Diagonal) => 2,
            _ => 1,
        }
    }

    /// Whether the cell is what its name alone stands for, or an RNN of relu: those have parts of their own, the others
    /// are linked from the general ones.
    pub fn is_plain(&self) -> bool {
        let plain = |cell: Cell| {
            let relu = cell == Cell::Rnn && self.variant == Variant { functions: RELU, ..Variant::NONE };
            relu || self.variant == Variant::plain(cell)
        };
        !self.kernel.is_step() || self.cell.is_none_or(plain)
    }

    /// The override constants and their values. A function has its code and two constants, 0 where it has none.
    pub fn overrides(&self) -> Vec<(&'static str, f64)> {
        let names = self.kernel.declaration().overrides.iter();
        names.filter_map(|&name| Some((name, self.override_value(name)?))).collect()
    }

    /// The value of an override constant; `None` where the program's parts do not declare it.
    fn override_value(&self, name: &str) -> Option<f64> {
        let functions = if self.is_plain() { 0 } else { self.cell.map_or(0, Cell::function_count) };
        let Functions { f, g, h } = self.variant.functions;
        let (function, part) = name.split_once('_').unwrap_or((name, ""));
        let function = match function {
            "PANELS" => return Some(self.tile.panels.into()),
            "SLICES" => return Some(self.tile.slices.into()),
            "LAYER" => return Some(self.tile.layer.into()),
            "COMBINE" => return Some((self.combine as u32).into()),
            "CLIP" if functions > 0 => return Some(finite(self.variant.clip.unwrap_or(Constant::new(0.0)))),
            "COUPLED" if functions > 0 && self.cell == Some(Cell::Lstm) => {
                return Some((self.variant.coupling as u32).into());
            }
            "F" if functions > 0 => f,
            "G" if functions > 1 => g,
            "H" if functions > 2 => h,
            "ACTIVATION" | "ALPHA" | "BETA" if self.ends_in_function() => self.activation,
            _ => return None,
        };
        let constant = |at: usize| function.constants().get(at).map_or(0.0, |&(_, constant)| finite(constant));
        Some(match (name, part) {
            ("ALPHA", _) | (_, "ALPHA") => constant(0),
            ("BETA", _) | (_, "BETA") => constant(1),
            _ => function.code().into(),
        })
    }

    /// Whether the program is linked with a function of its results: a product may have none.
    pub(crate) fn ends_in_function(&self) -> bool {
        self.kernel != Kernel::Project || self.activation != Activation::Linear
    }

    /// Invocations of a workgroup in x, y, z.
    pub fn workgroup_size(&self) -> [u32; 3] {
        let x = if self.kernel.is_product() { 4 * self.tile.panels * self.tile.slices } else { WORKGROUP };
        [x, 1, 1]
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(&self) -> u32 {
        match self.kernel {
            Kernel::Softmax => 4 * WORKGROUP,
            // Each lane's best and where it is, and the counts of a digit.
            Kernel::Sample => 4 * (2 * WORKGROUP + 16),
            Kernel::Scan => self.shared_bytes() + 16 * 4 * self.tile.panels * self.tile.rows,
            // And how long it has waited.
            Kernel::Persistent => self.shared_bytes() + 16 * 4 * self.tile.layer * self.tile.rows + 4,
            kernel if kernel.is_step() => self.shared_bytes(),
            _ => 0,
        }
    }

    /// Bytes of workgroup memory in which slices meet.
    fn shared_bytes(&self) -> u32 {
        if self.tile.slices == 1 {
            return 0;
        }
        16 * self.workgroup_size()[0] * self.tile.rows * self.product_gates()
    }

    /// Iterations of all loops that one invocation runs at most, were none of them unrolled.
    pub fn loop_iterations(&self, params: &Params) -> u64 {
        let (rows, gates) = (u64::from(self.tile.rows), u64::from(self.product_gates()));
        match self.kernel {
            Kernel::Softmax => {
                3 * u64::from(params.units * params.directions).div_ceil(u64::from(WORKGROUP))
                    + 2 * u64::from(WORKGROUP)
            }
            Kernel::Sample => {
                // The highest, eight digits of the k-th largest, and the draw; then what lanes tell each other.
                let fours = u64::from(params.units / 4).div_ceil(u64::from(WORKGROUP));
                (1 + 8 + 1) * fours + 2 * u64::from(WORKGROUP) + 8 * (1 + 16)
            }
            Kernel::Scan | Kernel::Persistent => {
                let slices = u64::from(self.tile.slices);
                let loads = if self.tile.held > 0 { 0 } else { u64::from(params.depth / 4).div_ceil(slices) };
                // Each step: itself, the depth in fours, then sharing, adding and finishing each row. The states go in and
                // out row by row.
                let each = 1 + loads + rows * (1 + gates * (3 + slices));
                if self.kernel == Kernel::Scan {
                    return u64::from(params.steps) * each + 2 * rows;
                }
                // What is handed on and taken, four units each, and the turns of waiting.
                let handed = rows + (rows * u64::from(params.units / 4)).div_ceil(self.workgroup_size()[0].into());
                u64::from(params.steps) * (each + handed) + 2 * rows + handed + u64::from(PATIENCE)
            }
            kernel if kernel.is_product() => {
                let slices = match kernel {
                    Kernel::Project => 1,
                    // Each half has a product of its own.
                    Kernel::Diagonal => u64::from(self.tile.slices / 2),
                    _ => u64::from(self.tile.slices),
                };
                // The depth in fours, then sharing, adding and finishing each row.
                u64::from(params.depth / 4).div_ceil(slices) + rows * (1 + gates * (3 + slices))
            }
            _ => 0,
        }
    }
}
