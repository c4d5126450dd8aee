//! A program: a kernel with everything that is fixed when it is compiled, and what follows from that.
//!
//! Each kernel has a variant that holds what it means and nothing else. Whatever must be said of a kernel is said by a match
//! without a wildcard: a new one does not compile until all of it is.

use super::{
    Access, Binding, Combine, JoinOp, Kernel, Mask, Medium, PATIENCE, Params, RELU, Role, StateKind, Storage, Tile,
    WORKGROUP, When, finite,
};
use crate::cell::{Activation, Cell, Constant, Functions, Peepholes, Reset, Variant};

/// How a device has the matrix of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrix {
    /// As which numbers.
    pub storage: Storage,
    /// In what.
    pub medium: Medium,
}

impl Matrix {
    /// In a buffer.
    pub fn buffer(storage: Storage) -> Self {
        Self { storage, medium: Medium::Buffer }
    }
}

/// A product of many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Project {
    /// The cell whose gates it computes, if it computes any.
    pub cell: Option<Cell>,
    /// What the results go through.
    pub activation: Activation,
    /// The matrix.
    pub matrix: Matrix,
    /// How it is cut.
    pub tile: Tile,
}

/// One or many timesteps of a cell, each of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The cell that is linked in.
    pub cell: Cell,
    /// How it departs from what its name alone stands for.
    pub variant: Variant,
    /// What it does with its states.
    pub states: StateKind,
    /// Whether a mask is bound.
    pub mask: Mask,
    /// The recurrent matrix.
    pub matrix: Matrix,
    /// How the product is cut.
    pub tile: Tile,
}

/// One half of a timestep of a GRU with the reset before the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Half {
    /// How the cell departs from what its name alone stands for.
    pub variant: Variant,
    /// The recurrent matrix of the half's gates.
    pub matrix: Matrix,
    /// How the product is cut.
    pub tile: Tile,
}

/// The projection of an LSTM's hidden state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepProject {
    /// Whether a mask is bound.
    pub mask: Mask,
    /// The matrix.
    pub matrix: Matrix,
    /// How the product is cut.
    pub tile: Tile,
}

/// Features of one value among those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Join {
    /// What becomes of a feature that takes one of the source.
    pub combine: JoinOp,
    /// Whether the dispatch is the first one of its target: then it takes the target for zeros.
    pub first: bool,
    /// Whether each timestep of the target takes the same rows of the source, one batch.
    pub broadcast: bool,
}

/// A kernel with everything that is fixed when it is compiled: one pipeline on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// [`Kernel::Project`].
    Project(Project),
    /// [`Kernel::Step`].
    Step(Step),
    /// [`Kernel::Diagonal`].
    Diagonal(Step),
    /// [`Kernel::Scan`].
    Scan(Step),
    /// [`Kernel::Persistent`].
    Persistent(Step),
    /// [`Kernel::Clear`].
    Clear,
    /// [`Kernel::StepReset`].
    StepReset(Half),
    /// [`Kernel::StepNew`], and whether a mask is bound.
    StepNew(Half, Mask),
    /// [`Kernel::StepProject`].
    StepProject(StepProject),
    /// [`Kernel::Gather`], and how the table is stored.
    Gather(Storage),
    /// [`Kernel::OneHot`].
    OneHot,
    /// [`Kernel::Pick`].
    Pick,
    /// [`Kernel::Blank`].
    Blank,
    /// [`Kernel::Merge`], and how.
    Merge(Combine),
    /// [`Kernel::Join`], and how.
    Join(Join),
    /// [`Kernel::Softmax`], or its logarithm.
    Softmax {
        /// Whether it is the logarithm.
        log: bool,
    },
    /// [`Kernel::Activate`], and by which elementwise function.
    Activate(Activation),
    /// [`Kernel::Sample`].
    Sample,
}

/// What it has.
impl Program {
    /// The program that makes rows of rows by `activation`.
    pub fn of_activation(activation: Activation) -> Self {
        if activation.is_elementwise() {
            Self::Activate(activation)
        } else {
            Self::Softmax { log: activation == Activation::LogSoftmax }
        }
    }

    /// Its kernel.
    pub fn kernel(&self) -> Kernel {
        match self {
            Self::Project(_) => Kernel::Project,
            Self::Step(_) => Kernel::Step,
            Self::Diagonal(_) => Kernel::Diagonal,
            Self::Scan(_) => Kernel::Scan,
            Self::Persistent(_) => Kernel::Persistent,
            Self::Clear => Kernel::Clear,
            Self::StepReset(_) => Kernel::StepReset,
            Self::StepNew(..) => Kernel::StepNew,
            Self::StepProject(_) => Kernel::StepProject,
            Self::Gather(_) => Kernel::Gather,
            Self::OneHot => Kernel::OneHot,
            Self::Pick => Kernel::Pick,
            Self::Blank => Kernel::Blank,
            Self::Merge(_) => Kernel::Merge,
            Self::Join(_) => Kernel::Join,
            Self::Softmax { .. } => Kernel::Softmax,
            Self::Activate(_) => Kernel::Activate,
            Self::Sample => Kernel::Sample,
        }
    }

    /// How its product is cut, if it has one.
    pub fn tile(&self) -> Option<Tile> {
        let mut program = *self;
        program.product().map(|(_, tile)| *tile)
    }

    /// The matrix of its product, if it has one.
    pub fn matrix(&self) -> Option<Matrix> {
        let mut program = *self;
        program.product().map(|(matrix, _)| *matrix)
    }

    /// The same with another tile; one without a product stays as it is.
    #[must_use]
    pub fn with_tile(mut self, tile: Tile) -> Self {
        if let Some((_, own)) = self.product() {
            *own = tile;
        }
        self
    }

    /// The same with another matrix; one without a product stays as it is.
    #[must_use]
    pub fn with_matrix(mut self, matrix: Matrix) -> Self {
        if let Some((own, _)) = self.product() {
            *own = matrix;
        }
        self
    }

    fn product(&mut self) -> Option<(&mut Matrix, &mut Tile)> {
        match self {
            Self::Project(Project { matrix, tile, .. })
            | Self::Step(Step { matrix, tile, .. })
            | Self::Diagonal(Step { matrix, tile, .. })
            | Self::Scan(Step { matrix, tile, .. })
            | Self::Persistent(Step { matrix, tile, .. })
            | Self::StepReset(Half { matrix, tile, .. })
            | Self::StepNew(Half { matrix, tile, .. }, _)
            | Self::StepProject(StepProject { matrix, tile, .. }) => Some((matrix, tile)),
            Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Sample => None,
        }
    }

    /// How its weights are stored, if it has any.
    pub fn storage(&self) -> Option<Storage> {
        if let Self::Gather(storage) = self { Some(*storage) } else { self.matrix().map(|matrix| matrix.storage) }
    }

    /// The cell whose steps, halves of steps or gates it computes, and how that departs from its plain equations. A product
    /// of gates knows no function of its cell.
    pub fn cell(&self) -> Option<(Cell, Variant)> {
        match *self {
            Self::Project(product) => product.cell.map(|cell| (cell, Variant::NONE)),
            Self::Step(step) | Self::Diagonal(step) | Self::Scan(step) | Self::Persistent(step) => {
                Some((step.cell, step.variant))
            }
            Self::StepReset(half) | Self::StepNew(half, _) => Some((Cell::Gru(Reset::Before), half.variant)),
            Self::StepProject(_)
            | Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Sample => None,
        }
    }

    /// What it does with the states of a step, if it is one or many.
    pub fn states(&self) -> Option<StateKind> {
        match self {
            Self::Step(step) | Self::Diagonal(step) | Self::Scan(step) | Self::Persistent(step) => Some(step.states),
            Self::Project(_)
            | Self::StepReset(_)
            | Self::StepNew(..)
            | Self::StepProject(_)
            | Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Sample => None,
        }
    }

    /// Whether a mask is bound, where that depends.
    pub fn mask(&self) -> Mask {
        match self {
            Self::Step(step) | Self::Diagonal(step) | Self::Scan(step) | Self::Persistent(step) => step.mask,
            Self::StepNew(_, mask) | Self::StepProject(StepProject { mask, .. }) => *mask,
            Self::Project(_)
            | Self::StepReset(_)
            | Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Sample => Mask::All,
        }
    }

    /// What its results go through: `Linear` where that is nothing.
    pub fn activation(&self) -> Activation {
        match self {
            Self::Project(product) => product.activation,
            Self::Activate(activation) => *activation,
            Self::Softmax { log: false } => Activation::Softmax,
            Self::Softmax { log: true } => Activation::LogSoftmax,
            Self::Step(_)
            | Self::Diagonal(_)
            | Self::Scan(_)
            | Self::Persistent(_)
            | Self::StepReset(_)
            | Self::StepNew(..)
            | Self::StepProject(_)
            | Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Sample => Activation::Linear,
        }
    }

    /// How it combines the outputs of two directions, if it does.
    pub fn combine(&self) -> Option<Combine> {
        if let Self::Merge(combine) = self { Some(*combine) } else { None }
    }

    /// How it joins two values, if it does.
    pub fn join(&self) -> Option<Join> {
        if let Self::Join(join) = self { Some(*join) } else { None }
    }

    /// The bindings of this program, in order; the first is always `params`.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> + use<> {
        let (mask, states, matrix) = (self.mask(), self.states(), self.matrix());
        let here = self.kernel().declaration().bindings.iter().filter(move |binding| match binding.when {
            When::Always => true,
            When::Masked => mask == Mask::Live,
            When::Memory => matches!(states, Some(StateKind::Memory | StateKind::Projected)),
            When::Projected => states == Some(StateKind::Projected),
            When::Unprojected => states != Some(StateKind::Projected),
        });
        here.map(move |&binding| match matrix {
            Some(Matrix { medium: Medium::Texture, storage }) if binding.role == Role::Weights => {
                let access = match storage {
                    Storage::F32 | Storage::F16 => Access::Texture,
                    Storage::I8 => Access::IntegerTexture,
                };
                Binding { access, ..binding }
            }
            Some(_) | None => binding,
        })
    }
}

/// What follows.
impl Program {
    /// G of the product that the program computes; 1 where it has none.
    #[allow(clippy::cast_possible_truncation, reason = "a cell has at most four gates")]
    pub fn product_gates(&self) -> u32 {
        match self {
            Self::Project(product) => product.cell.map_or(1, |cell| cell.gates() as u32),
            Self::Step(step) | Self::Diagonal(step) | Self::Scan(step) | Self::Persistent(step) => {
                step.cell.gates() as u32
            }
            Self::StepReset(_) => 2,
            Self::StepNew(..) | Self::StepProject(_) => 1,
            Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Sample => 1,
        }
    }

    /// Rows of a panel of the weights after those of the depth: the bias, and an LSTM's peepholes.
    pub fn rows_after_depth(&self) -> u32 {
        match self {
            Self::Step(step) | Self::Scan(step) | Self::Persistent(step) => match step.variant.peepholes {
                Peepholes::None => 1,
                Peepholes::Diagonal => 2,
            },
            // No layer of a run has peepholes.
            Self::Diagonal(_)
            | Self::Project(_)
            | Self::StepReset(_)
            | Self::StepNew(..)
            | Self::StepProject(_)
            | Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Sample => 1,
        }
    }

    /// Whether the cell of a step is what its name alone stands for, or an RNN of relu: those have parts of their own, the
    /// others are linked from the general ones.
    pub fn is_plain(&self) -> bool {
        let plain = |(cell, variant): (Cell, Variant)| {
            let relu = cell == Cell::Rnn && variant == Variant { functions: RELU, ..Variant::NONE };
            relu || variant == Variant::plain(cell)
        };
        !self.kernel().is_step() || self.cell().is_none_or(plain)
    }

    /// The override constants and their values. A function has its code and two constants, 0 where it has none.
    pub fn overrides(&self) -> Vec<(&'static str, f64)> {
        let names = self.kernel().declaration().overrides.iter();
        names.filter_map(|&name| Some((name, self.override_value(name)?))).collect()
    }

    /// The value of an override constant; `None` where the program's parts do not declare it.
    fn override_value(&self, name: &str) -> Option<f64> {
        let general = self.cell().filter(|_| !self.is_plain());
        let functions = general.map_or(0, |(cell, _)| cell.function_count());
        let variant = general.map_or(Variant::NONE, |(_, variant)| variant);
        let Functions { f, g, h } = variant.functions;
        let (function, part) = name.split_once('_').unwrap_or((name, ""));
        let function = match function {
            "PANELS" => return Some(self.tile()?.panels.into()),
            "SLICES" => return Some(self.tile()?.slices.into()),
            "LAYER" => return Some(self.tile()?.layer.into()),
            "COMBINE" => return Some((self.combine()? as u32).into()),
            "JOIN" => return Some((self.join()?.combine as u32).into()),
            "FIRST" => return Some(u32::from(self.join()?.first).into()),
            "BROADCAST" => return Some(u32::from(self.join()?.broadcast).into()),
            "CLIP" if functions > 0 => return Some(finite(variant.clip.unwrap_or(Constant::new(0.0)))),
            "COUPLED" if matches!(general, Some((Cell::Lstm, _))) => return Some((variant.coupling as u32).into()),
            "F" if functions > 0 => f,
            "G" if functions > 1 => g,
            "H" if functions > 2 => h,
            "ACTIVATION" | "ALPHA" | "BETA" if self.ends_in_function() => self.activation(),
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
        match self {
            Self::Project(product) => product.activation != Activation::Linear,
            Self::Softmax { .. } | Self::Activate(_) => true,
            Self::Step(_)
            | Self::Diagonal(_)
            | Self::Scan(_)
            | Self::Persistent(_)
            | Self::StepReset(_)
            | Self::StepNew(..)
            | Self::StepProject(_)
            | Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Sample => false,
        }
    }

    /// Invocations of a workgroup in x, y, z.
    pub fn workgroup_size(&self) -> [u32; 3] {
        [self.tile().map_or(WORKGROUP, invocations), 1, 1]
    }

    /// Bytes of workgroup memory.
    pub fn workgroup_bytes(&self) -> u32 {
        let shared = |tile| shared_bytes(tile, self.product_gates());
        match self {
            Self::Softmax { .. } => 4 * WORKGROUP,
            // Each lane's best and where it is, and the counts of a digit.
            Self::Sample => 4 * (2 * WORKGROUP + 16),
            Self::Scan(Step { tile, .. }) => shared(*tile) + 16 * 4 * tile.panels * tile.rows,
            // And how long it has waited.
            Self::Persistent(Step { tile, .. }) => shared(*tile) + 16 * 4 * tile.layer * tile.rows + 4,
            Self::Step(Step { tile, .. })
            | Self::Diagonal(Step { tile, .. })
            | Self::StepReset(Half { tile, .. })
            | Self::StepNew(Half { tile, .. }, _)
            | Self::StepProject(StepProject { tile, .. }) => shared(*tile),
            Self::Project(_)
            | Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Activate(_) => 0,
        }
    }

    /// Iterations of all loops that one invocation runs at most, were none of them unrolled.
    pub fn loop_iterations(&self, params: &Params) -> u64 {
        let gates = u64::from(self.product_gates());
        // The depth in fours, shared by so many; then sharing, adding and finishing each row.
        let product = |tile: Tile, sharing: u32| {
            u64::from(params.depth / 4).div_ceil(u64::from(sharing))
                + u64::from(tile.rows) * (1 + gates * (3 + u64::from(sharing)))
        };
        match self {
            Self::Softmax { .. } => {
                3 * u64::from(params.units * params.directions).div_ceil(u64::from(WORKGROUP))
                    + 2 * u64::from(WORKGROUP)
            }
            Self::Sample => {
                // The highest, eight digits of the k-th largest, and the draw; then what lanes tell each other.
                let fours = u64::from(params.units / 4).div_ceil(u64::from(WORKGROUP));
                (1 + 8 + 1) * fours + 2 * u64::from(WORKGROUP) + 8 * (1 + 16)
            }
            Self::Scan(Step { tile, .. }) => {
                u64::from(params.steps) * walked_step(*tile, gates, params) + 2 * u64::from(tile.rows)
            }
            Self::Persistent(Step { tile, .. }) => {
                // What is handed on and taken, four units each, and the turns of waiting.
                let rows = u64::from(tile.rows);
                let handed = rows + (rows * u64::from(params.units / 4)).div_ceil(invocations(*tile).into());
                u64::from(params.steps) * (walked_step(*tile, gates, params) + handed)
                    + 2 * rows
                    + handed
                    + u64::from(PATIENCE)
            }
            Self::Project(Project { tile, .. }) => product(*tile, 1),
            // Each half has a product of its own.
            Self::Diagonal(Step { tile, .. }) => product(*tile, tile.slices / 2),
            Self::Step(Step { tile, .. })
            | Self::StepReset(Half { tile, .. })
            | Self::StepNew(Half { tile, .. }, _)
            | Self::StepProject(StepProject { tile, .. }) => product(*tile, tile.slices),
            Self::Clear
            | Self::Gather(_)
            | Self::OneHot
            | Self::Pick
            | Self::Blank
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Activate(_) => 0,
        }
    }
}

/// Iterations of each step of a walk: itself, the depth in fours, then sharing, adding and finishing each row. The states go
/// in and out row by row.
fn walked_step(tile: Tile, gates: u64, params: &Params) -> u64 {
    let slices = u64::from(tile.slices);
    let loads = if tile.held > 0 { 0 } else { u64::from(params.depth / 4).div_ceil(slices) };
    1 + loads + u64::from(tile.rows) * (1 + gates * (3 + slices))
}

/// Invocations of a workgroup that computes a tile: four units each.
fn invocations(tile: Tile) -> u32 {
    4 * tile.panels * tile.slices
}

/// Bytes of workgroup memory in which slices meet.
fn shared_bytes(tile: Tile, gates: u32) -> u32 {
    if tile.slices == 1 {
        return 0;
    }
    16 * invocations(tile) * tile.rows * gates
}
