//! Programs: a kernel with everything that is fixed when it is compiled. `derived` has what follows from that.
//!
//! Each kernel has a variant, which holds exactly what can vary. Each question about a kernel
//! is a match without a wildcard: a new kernel does not compile until all of them are answered.

use super::{
    Access, Across, Attend, Binding, Combine, Convolve, JoinOp, Kernel, Loads, Mask, Medium, Norm, Outer, Role,
    StateKind, Tile, Training, When,
};
use crate::cell::{Activation, Cell, Reset, Variant};
use crate::precision::Precision;

/// How a device stores the matrix of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Matrix {
    /// The format of its numbers.
    pub storage: Precision,
    /// A buffer or a texture.
    pub medium: Medium,
}

impl Matrix {
    /// Returns a matrix in a buffer.
    pub fn buffer(storage: Precision) -> Self {
        Self { storage, medium: Medium::Buffer }
    }
}

/// A product of many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gemm {
    /// The cell whose gates it computes, if it computes all gates of one.
    pub cell: Option<Cell>,
    /// G: the gates of a panel.
    pub gates: u32,
    /// Rows of a panel after those of the depth: the bias, then peepholes, which the product skips.
    pub after: u32,
    /// The function that the results go through.
    pub activation: Activation,
    /// The matrix of the product.
    pub matrix: Matrix,
    /// How the product is cut.
    pub tile: Tile,
    /// Whether the result is added to the target's old values.
    pub add: bool,
    /// Whether each gate multiplies its own row of the source, laid out as rows of gates are.
    pub per_gate: bool,
}

impl Tile {
    /// Returns the tile of a product. If its gates multiply rows of their own, no lanes load those together.
    #[must_use]
    pub fn own_loads(self, per_gate: bool) -> Self {
        if per_gate { Self { loads: Loads::Lane, ..self } } else { self }
    }
}

/// One or more timesteps of a cell that needs one product for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The cell that is linked in.
    pub cell: Cell,
    /// How the cell departs from its plain equations.
    pub variant: Variant,
    /// How the step handles its states.
    pub states: StateKind,
    /// Whether a mask is bound.
    pub mask: Mask,
    /// Whether it keeps what the backward pass needs: only [`Kernel::Step`] and [`Kernel::Scan`] may.
    pub keeps: bool,
    /// Whether each gate multiplies its own copy of the state, from `source`: only [`Kernel::Step`] may.
    pub per_gate: bool,
    /// The recurrent matrix.
    pub matrix: Matrix,
    /// How the product is cut.
    pub tile: Tile,
}

/// One half of a timestep of a GRU whose reset comes before the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Half {
    /// How the cell departs from its plain equations.
    pub variant: Variant,
    /// Whether each gate multiplies its own row of `source`.
    pub per_gate: bool,
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
    /// The projection's matrix.
    pub matrix: Matrix,
    /// How the product is cut.
    pub tile: Tile,
}

/// A copy of features of one value into another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Join {
    /// How a feature of the target combines with one of the source.
    pub combine: JoinOp,
    /// Whether the dispatch is the first one of its target: it then takes the target for zeros.
    pub first: bool,
    /// Whether all timesteps of the target take the same rows of the source, one batch.
    pub broadcast: bool,
}

/// A kernel with everything that is fixed when it is compiled: one pipeline on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// [`Kernel::Gemm`].
    Gemm(Gemm),
    /// [`Kernel::Step`].
    Step(Step),
    /// [`Kernel::Wavefront`].
    Wavefront(Step),
    /// [`Kernel::Scan`].
    Scan(Step),
    /// [`Kernel::Persistent`].
    Persistent(Step),
    /// [`Kernel::ResetMailbox`].
    ResetMailbox,
    /// [`Kernel::StepReset`].
    StepReset(Half),
    /// [`Kernel::StepNew`], and whether a mask is bound.
    StepNew(Half, Mask),
    /// [`Kernel::StepProject`].
    StepProject(StepProject),
    /// [`Kernel::Gather`], and how the table is stored.
    Gather(Precision),
    /// [`Kernel::OneHot`].
    OneHot,
    /// [`Kernel::FinalState`].
    FinalState,
    /// [`Kernel::MaskOutputs`].
    MaskOutputs,
    /// [`Kernel::Merge`], and how it combines.
    Merge(Combine),
    /// [`Kernel::Join`], and how it joins.
    Join(Join),
    /// [`Kernel::Softmax`], or its logarithm.
    Softmax {
        /// Whether it computes the logarithm.
        log: bool,
    },
    /// [`Kernel::Activate`], and its elementwise function.
    Activate(Activation),
    /// [`Kernel::Normalize`], and what it computes.
    Normalize(Norm),
    /// [`Kernel::Sample`].
    Sample,
    /// A program across steps.
    Across(Across),
    /// A program of attention.
    Attend(Attend),
    /// A program of a convolution.
    Convolve(Convolve),
    /// A training program.
    Training(Training),
}

/// Questions that a program answers.
impl Program {
    /// Returns the program that applies `activation` to rows.
    pub fn of_activation(activation: Activation) -> Self {
        if activation.is_elementwise() {
            Self::Activate(activation)
        } else {
            Self::Softmax { log: activation == Activation::LogSoftmax }
        }
    }

    /// Returns the kernel.
    pub fn kernel(&self) -> Kernel {
        match self {
            Self::Gemm(_) => Kernel::Gemm,
            Self::Step(_) => Kernel::Step,
            Self::Wavefront(_) => Kernel::Wavefront,
            Self::Scan(_) => Kernel::Scan,
            Self::Persistent(_) => Kernel::Persistent,
            Self::ResetMailbox => Kernel::ResetMailbox,
            Self::StepReset(_) => Kernel::StepReset,
            Self::StepNew(..) => Kernel::StepNew,
            Self::StepProject(_) => Kernel::StepProject,
            Self::Gather(_) => Kernel::Gather,
            Self::OneHot => Kernel::OneHot,
            Self::FinalState => Kernel::FinalState,
            Self::MaskOutputs => Kernel::MaskOutputs,
            Self::Merge(_) => Kernel::Merge,
            Self::Join(_) => Kernel::Join,
            Self::Softmax { .. } => Kernel::Softmax,
            Self::Activate(_) => Kernel::Activate,
            Self::Normalize(_) => Kernel::Normalize,
            Self::Sample => Kernel::Sample,
            Self::Across(across) => across.kernel(),
            Self::Attend(attend) => attend.kernel(),
            Self::Convolve(convolve) => convolve.kernel(),
            Self::Training(training) => training.kernel(),
        }
    }

    /// Returns how its product is cut, if it has one.
    pub fn tile(&self) -> Option<Tile> {
        let mut program = *self;
        program.product().map(|(_, tile)| *tile)
    }

    /// Returns the matrix of its product, if it has one.
    pub fn matrix(&self) -> Option<Matrix> {
        let mut program = *self;
        program.product().map(|(matrix, _)| *matrix)
    }

    /// Returns who loads what lanes share, if the program depends on it.
    pub fn loads(&self) -> Option<Loads> {
        let training = self.training().and_then(|training| training.loads());
        training.or_else(|| self.tile().map(|tile| tile.loads))
    }

    /// Returns the program with another tile, or unchanged if it has no product.
    #[must_use]
    pub fn with_tile(mut self, tile: Tile) -> Self {
        let tile = tile.own_loads(self.is_per_gate());
        if let Some((_, own)) = self.product() {
            *own = tile;
        }
        self
    }

    /// Returns the program with another matrix, or unchanged if it has no product.
    #[must_use]
    pub fn with_matrix(mut self, matrix: Matrix) -> Self {
        if let Some((own, _)) = self.product() {
            *own = matrix;
        }
        self
    }

    fn product(&mut self) -> Option<(&mut Matrix, &mut Tile)> {
        match self {
            Self::Gemm(Gemm { matrix, tile, .. })
            | Self::Step(Step { matrix, tile, .. })
            | Self::Wavefront(Step { matrix, tile, .. })
            | Self::Scan(Step { matrix, tile, .. })
            | Self::Persistent(Step { matrix, tile, .. })
            | Self::StepReset(Half { matrix, tile, .. })
            | Self::StepNew(Half { matrix, tile, .. }, _)
            | Self::StepProject(StepProject { matrix, tile, .. }) => Some((matrix, tile)),
            Self::Training(training) => training.product(),
            Self::Convolve(convolve) => convolve.product(),
            Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Normalize(_)
            | Self::Sample
            | Self::Across(_)
            | Self::Attend(_) => None,
        }
    }

    /// Returns how its weights are stored, if it has any.
    pub fn storage(&self) -> Option<Precision> {
        let of_attention = || self.attend().and_then(|attend| attend.storage());
        if let Self::Gather(storage) = self {
            return Some(*storage);
        }
        if let Self::Convolve(convolve) = self {
            return convolve.storage();
        }
        self.matrix().map(|matrix| matrix.storage).or_else(of_attention)
    }

    /// Returns the cell whose steps, halves of steps or gates it computes, and how that
    /// departs from its plain equations. A product of gates knows no function of its cell.
    pub fn cell(&self) -> Option<(Cell, Variant)> {
        match *self {
            Self::Gemm(product) => product.cell.map(|cell| (cell, Variant::NONE)),
            Self::Step(step) | Self::Wavefront(step) | Self::Scan(step) | Self::Persistent(step) => {
                Some((step.cell, step.variant))
            }
            Self::StepReset(half) | Self::StepNew(half, _) => Some((Cell::Gru(Reset::Before), half.variant)),
            Self::StepProject(_)
            | Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Normalize(_)
            | Self::Sample
            | Self::Across(_)
            | Self::Attend(_)
            | Self::Convolve(_) => None,
            Self::Training(training) => training.cell(),
        }
    }

    /// Returns how it handles the states of a step, if it computes steps.
    pub fn states(&self) -> Option<StateKind> {
        match self {
            Self::Step(step) | Self::Wavefront(step) | Self::Scan(step) | Self::Persistent(step) => Some(step.states),
            Self::Gemm(_)
            | Self::StepReset(_)
            | Self::StepNew(..)
            | Self::StepProject(_)
            | Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Normalize(_)
            | Self::Sample
            | Self::Across(_)
            | Self::Attend(_)
            | Self::Convolve(_) => None,
            Self::Training(training) => training.states(),
        }
    }

    /// Returns whether a mask is bound: [`Mask::All`] if none is.
    pub fn mask(&self) -> Mask {
        match self {
            Self::Step(step) | Self::Wavefront(step) | Self::Scan(step) | Self::Persistent(step) => step.mask,
            Self::StepNew(_, mask) | Self::StepProject(StepProject { mask, .. }) => *mask,
            Self::Gemm(_)
            | Self::StepReset(_)
            | Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Normalize(_)
            | Self::Sample
            | Self::Convolve(_) => Mask::All,
            Self::Across(across) => across.mask(),
            Self::Attend(attend) => attend.mask(),
            Self::Training(training) => training.mask(),
        }
    }

    /// Returns the function that its results go through: `Linear` if there is none.
    pub fn activation(&self) -> Activation {
        match self {
            Self::Gemm(product) => product.activation,
            Self::Activate(activation) => *activation,
            Self::Softmax { log: false } => Activation::Softmax,
            Self::Softmax { log: true } => Activation::LogSoftmax,
            Self::Step(_)
            | Self::Wavefront(_)
            | Self::Scan(_)
            | Self::Persistent(_)
            | Self::StepReset(_)
            | Self::StepNew(..)
            | Self::StepProject(_)
            | Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Normalize(_)
            | Self::Sample
            | Self::Across(_)
            | Self::Attend(_) => Activation::Linear,
            Self::Training(training) => training.activation(),
            Self::Convolve(convolve) => convolve.activation(),
        }
    }

    /// Returns how it combines the outputs of two directions, if it does.
    pub fn combine(&self) -> Option<Combine> {
        if let Self::Merge(combine) = self { Some(*combine) } else { None }
    }

    /// Returns how it joins two values, if it does.
    pub fn join(&self) -> Option<Join> {
        if let Self::Join(join) = self { Some(*join) } else { None }
    }

    /// Returns what it computes of a row, if it normalises.
    pub fn norm(&self) -> Option<Norm> {
        if let Self::Normalize(norm) | Self::Training(Training::NormalizeBack(norm)) = self {
            Some(*norm)
        } else {
            None
        }
    }

    /// Returns the training program, if it is one.
    pub fn training(&self) -> Option<Training> {
        if let Self::Training(training) = self { Some(*training) } else { None }
    }

    /// Whether each gate of its product multiplies rows of its own.
    pub fn is_per_gate(&self) -> bool {
        match self {
            Self::Gemm(Gemm { per_gate, .. })
            | Self::Step(Step { per_gate, .. })
            | Self::StepReset(Half { per_gate, .. })
            | Self::StepNew(Half { per_gate, .. }, _) => *per_gate,
            Self::Training(training) => training.is_per_gate(),
            Self::Wavefront(_)
            | Self::Scan(_)
            | Self::Persistent(_)
            | Self::StepProject(_)
            | Self::ResetMailbox
            | Self::Gather(_)
            | Self::OneHot
            | Self::FinalState
            | Self::MaskOutputs
            | Self::Merge(_)
            | Self::Join(_)
            | Self::Softmax { .. }
            | Self::Activate(_)
            | Self::Normalize(_)
            | Self::Sample
            | Self::Across(_)
            | Self::Attend(_)
            | Self::Convolve(_) => false,
        }
    }

    /// Whether the program has a binding that `when` describes.
    fn has(&self, when: When) -> bool {
        if let Self::Training(training) = self {
            return training.has(when);
        }
        if let Self::Attend(attend) = self {
            return attend.has(when);
        }
        match when {
            When::Always => true,
            When::Masked => self.mask() == Mask::Live,
            When::CellState => matches!(self.states(), Some(StateKind::Cell | StateKind::Projected)),
            When::Projected => self.states() == Some(StateKind::Projected) && !self.is_per_gate(),
            When::Unprojected => self.states() != Some(StateKind::Projected),
            When::Kept => matches!(self, Self::Step(Step { keeps: true, .. }) | Self::Scan(Step { keeps: true, .. })),
            When::PerGate => self.is_per_gate(),
            When::Recurrent
            | When::Peepholes
            | When::Classes
            | When::Values
            | When::Weighted
            | When::Queried
            | When::Scaled
            | When::Moments(_) => false,
        }
    }

    /// Whether both factors of its product are in textures.
    fn multiplies_textures(&self) -> bool {
        matches!(self, Self::Training(Training::Outer(Outer { medium: Medium::Texture, .. })))
    }

    /// Returns the bindings of this program, in order. The first is always `params`.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> + use<> {
        let (program, matrix) = (*self, self.matrix());
        let here = self.kernel().declaration().bindings.iter().filter(move |binding| program.has(binding.when));
        here.map(move |&binding| match matrix {
            _ if program.multiplies_textures() && matches!(binding.role, Role::Source | Role::Delta) => {
                Binding { access: Access::Texture, ..binding }
            }
            Some(Matrix { medium: Medium::Texture, storage }) if binding.role == Role::Weights => {
                let access = match storage {
                    Precision::F32 | Precision::F16 => Access::Texture,
                    Precision::I8 => Access::IntegerTexture,
                };
                Binding { access, ..binding }
            }
            Some(_) | None => binding,
        })
    }
}
