//! A program: a kernel with everything that is fixed when it is compiled. What follows from that is in `derived`.
//!
//! Each kernel has a variant that holds what it means and nothing else. Whatever must be said of a kernel is said by a match
//! without a wildcard: a new one does not compile until all of it is.

use super::{
    Access, Binding, Combine, JoinOp, Kernel, Loads, Mask, Medium, Outer, Role, StateKind, Storage, Tile, Training,
    When,
};
use crate::cell::{Activation, Cell, Reset, Variant};

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
    /// The cell whose gates it computes, if it computes all of one's.
    pub cell: Option<Cell>,
    /// G: how many gates a panel has.
    pub gates: u32,
    /// Rows of a panel after those of the depth: the bias, and peepholes, which it does not know.
    pub after: u32,
    /// What the results go through.
    pub activation: Activation,
    /// The matrix.
    pub matrix: Matrix,
    /// How it is cut.
    pub tile: Tile,
    /// Whether it is added to what stands in the target.
    pub add: bool,
    /// Whether each gate multiplies a row of the source of its own: a row is laid out as one of gates.
    pub apart: bool,
}

impl Tile {
    /// The tile of a product; where its gates multiply rows of their own no lanes load those together.
    #[must_use]
    pub fn own_loads(self, apart: bool) -> Self {
        if apart { Self { loads: Loads::Lane, ..self } } else { self }
    }
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
    /// Whether it keeps what the way back through it needs: [`Kernel::Step`] and [`Kernel::Scan`] may.
    pub keeps: bool,
    /// Whether each gate multiplies a copy of the state of its own, from `source`: [`Kernel::Step`] alone may.
    pub apart: bool,
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
    /// Whether each gate multiplies a row of its own, from `source`.
    pub apart: bool,
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
    /// A program of training.
    Training(Training),
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
            Self::Training(training) => training.kernel(),
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

    /// Who loads what lanes share, where that depends.
    pub fn loads(&self) -> Option<Loads> {
        let training = self.training().and_then(|training| training.loads());
        training.or_else(|| self.tile().map(|tile| tile.loads))
    }

    /// The same with another tile; one without a product stays as it is.
    #[must_use]
    pub fn with_tile(mut self, tile: Tile) -> Self {
        let tile = tile.own_loads(self.is_apart());
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
            Self::Training(training) => training.product(),
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
            Self::Training(training) => training.cell(),
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
            Self::Training(training) => training.states(),
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
            Self::Training(training) => training.mask(),
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
            Self::Training(training) => training.activation(),
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

    /// The training program that it is, if it is one.
    pub fn training(&self) -> Option<Training> {
        if let Self::Training(training) = self { Some(*training) } else { None }
    }

    /// Whether each gate of its product multiplies rows of its own.
    pub fn is_apart(&self) -> bool {
        match self {
            Self::Project(Project { apart, .. })
            | Self::Step(Step { apart, .. })
            | Self::StepReset(Half { apart, .. })
            | Self::StepNew(Half { apart, .. }, _) => *apart,
            Self::Training(training) => training.is_apart(),
            Self::Diagonal(_)
            | Self::Scan(_)
            | Self::Persistent(_)
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
            | Self::Sample => false,
        }
    }

    /// Whether a binding that is there at times is there.
    fn has(&self, when: When) -> bool {
        if let Self::Training(training) = self {
            return training.has(when);
        }
        match when {
            When::Always => true,
            When::Masked => self.mask() == Mask::Live,
            When::Memory => matches!(self.states(), Some(StateKind::Memory | StateKind::Projected)),
            When::Projected => self.states() == Some(StateKind::Projected) && !self.is_apart(),
            When::Unprojected => self.states() != Some(StateKind::Projected),
            When::Kept => matches!(self, Self::Step(Step { keeps: true, .. }) | Self::Scan(Step { keeps: true, .. })),
            When::Apart => self.is_apart(),
            When::Recurrent | When::Peepholes | When::Classes | When::Values | When::Weighted | When::Moments(_) => {
                false
            }
        }
    }

    /// Whether what it adds the products of is in textures.
    fn multiplies_textures(&self) -> bool {
        matches!(self, Self::Training(Training::Outer(Outer { medium: Medium::Texture, .. })))
    }

    /// The bindings of this program, in order; the first is always `params`.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> + use<> {
        let (program, matrix) = (*self, self.matrix());
        let here = self.kernel().declaration().bindings.iter().filter(move |binding| program.has(binding.when));
        here.map(move |&binding| match matrix {
            _ if program.multiplies_textures() && matches!(binding.role, Role::Source | Role::Delta) => {
                Binding { access: Access::Texture, ..binding }
            }
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
