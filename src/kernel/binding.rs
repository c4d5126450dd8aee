//! The bindings of kernels: the index and the role of each, how it is used, and which programs have it.

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// The uniform `Params`, at a dynamic offset.
    Uniform,
    /// Read-only storage.
    Read,
    /// A texture of floats, read texel by texel.
    Texture,
    /// A texture of integers, read texel by texel.
    IntegerTexture,
    /// A texture of 32-bit floats, written texel by texel.
    WriteTexture,
    /// Storage that is read and written.
    ReadWrite,
}

impl Access {
    /// Whether the binding is a texture, read or written.
    pub fn is_texture(self) -> bool {
        matches!(self, Self::Texture | Self::IntegerTexture | Self::WriteTexture)
    }

    /// Whether the kernel writes the binding.
    pub fn is_write(self) -> bool {
        matches!(self, Self::ReadWrite | Self::WriteTexture)
    }
}

/// Which programs have a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// In every program.
    Always,
    /// In programs with [`Mask::Live`](super::Mask::Live).
    Masked,
    /// In programs with a cell state: `states` is not [`StateKind::Hidden`](super::StateKind::Hidden).
    CellState,
    /// In programs that multiply the earlier hidden state and leave the new one to a projection.
    Projected,
    /// In programs that write the hidden state themselves.
    Unprojected,
    /// In steps that keep what the backward pass needs.
    Kept,
    /// In training programs of a GRU.
    Recurrent,
    /// In training programs with peepholes.
    Peepholes,
    /// In steps whose gates multiply rows of their own, one for each gate.
    PerGate,
    /// In losses that compare each row with a class.
    Classes,
    /// In losses that compare each output with a number.
    Values,
    /// In losses whose classes have weights.
    Weighted,
    /// In scores that have a query.
    Queried,
    /// In scores that have a weight.
    Scaled,
    /// In updates that keep more than this many moments of each weight.
    Moments(usize),
}

/// The role of a binding in its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The params of the dispatch.
    Params,
    /// The matrix of a product, or a table.
    Weights,
    /// Rows that are read.
    Source,
    /// Rows that are written.
    Result,
    /// The input product, computed for all timesteps ahead of the steps.
    Gates,
    /// The mask: which rows have a step.
    Live,
    /// The hidden state.
    Hidden,
    /// The cell state of an LSTM.
    CellState,
    /// What the first product of a step leaves for the second, of a GRU with the reset before the product.
    Scratch,
    /// The outputs of a wavefront.
    Output,
    /// The mailbox of co-resident workgroups.
    Mailbox,
    /// Tokens.
    Tokens,
    /// How tokens are drawn.
    Draws,
    /// Steps that a query is compared with.
    Key,
    /// The shares of steps in a sum.
    Shares,
    /// Training: what a step keeps for the backward pass.
    Kept,
    /// Training: gradients of rows.
    Delta,
    /// Training: a gradient of states that came through a product.
    Product,
    /// Training: a gradient of states that bypasses the products.
    Direct,
    /// Training: the gradient of cell states.
    Carry,
    /// Training: a matrix whose panels end in peepholes.
    Peepholes,
    /// Training: the gradients of hidden states and of cell states that bypass the products.
    Past,
    /// Training: a GRU's recurrent product, and its gradient.
    Recurrent,
    /// Training: the other input of a GRU's new gate, and its gradient.
    New,
    /// Training: the value to compare with.
    Other,
    /// How many steps a pool has counted, for each of its elements.
    Counts,
    /// Training: rows in the order of their tokens.
    Order,
    /// Training: where the rows of each token start in that order.
    Starts,
    /// Training: the numbers to compare outputs with.
    Values,
    /// Training: the weight of each row.
    Scale,
    /// Training: the weight of each class.
    ClassWeights,
    /// Training: the loss of each row.
    Losses,
    /// Training: the numbers of an update.
    Scalars,
    /// Training: the squared norms of gradients.
    Norms,
    /// Training: the first number that is kept of each weight from update to update.
    Moment,
    /// Training: the second such number.
    SecondMoment,
    /// Training: the third such number.
    ThirdMoment,
}

impl Role {
    /// The number of roles.
    pub const COUNT: usize = Self::ThirdMoment as usize + 1;

    /// Returns the name of the WGSL variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Weights => "weights",
            Self::Source => "source",
            Self::Result => "result",
            Self::Gates => "gates",
            Self::Live => "live",
            Self::Hidden => "hidden",
            Self::CellState => "cell_state",
            Self::Scratch => "scratch",
            Self::Output => "output",
            Self::Mailbox => "mailbox",
            Self::Tokens => "tokens",
            Self::Draws => "draws",
            Self::Key => "key",
            Self::Shares => "shares",
            Self::Kept => "kept",
            Self::Delta => "delta",
            Self::Product => "product",
            Self::Direct => "direct",
            Self::Carry => "carry",
            Self::Peepholes => "peepholes",
            Self::Past => "past",
            Self::Recurrent => "recurrent",
            Self::New => "new_gate",
            Self::Other => "other",
            Self::Counts => "counts",
            Self::Order => "order",
            Self::Starts => "starts",
            Self::Values => "values",
            Self::Scale => "scale",
            Self::ClassWeights => "class_weights",
            Self::Losses => "losses",
            Self::Scalars => "scalars",
            Self::Norms => "norms",
            Self::Moment => "moment",
            Self::SecondMoment => "second_moment",
            Self::ThirdMoment => "third_moment",
        }
    }
}

/// A binding of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The binding's index in group 0.
    pub index: u32,
    /// Its role, whose name is that of the WGSL variable.
    pub role: Role,
    /// How it is used.
    pub access: Access,
    /// Which programs have it.
    pub when: When,
}
