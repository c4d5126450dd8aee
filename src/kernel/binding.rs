//! What a kernel binds: each binding's index, its role, how it is used, and when it is there.

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
    /// A texture of 32-bit floats whose texels are written.
    WriteTexture,
    /// Storage that is read and written.
    ReadWrite,
}

impl Access {
    /// Whether it is a texture, however it is used.
    pub fn is_texture(self) -> bool {
        matches!(self, Self::Texture | Self::IntegerTexture | Self::WriteTexture)
    }

    /// Whether what is bound is written.
    pub fn is_write(self) -> bool {
        matches!(self, Self::ReadWrite | Self::WriteTexture)
    }
}

/// When a binding is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// In every program.
    Always,
    /// In programs with [`Mask::Live`](super::Mask::Live).
    Masked,
    /// In programs with a memory: `states` is not [`StateKind::Hidden`](super::StateKind::Hidden).
    Memory,
    /// In programs whose hidden state waits for its projection, and that multiply the one before.
    Projected,
    /// In programs that write the hidden state themselves.
    Unprojected,
    /// In steps that keep what the way back needs.
    Kept,
    /// In training programs of a GRU.
    Recurrent,
    /// In training programs with peepholes.
    Peepholes,
    /// In steps whose gates multiply rows of their own.
    Apart,
    /// In losses of a class a row.
    Classes,
    /// In losses of a number for each output.
    Values,
    /// In losses whose classes have weights.
    Weighted,
    /// In updates that keep more moments of each weight than so many.
    Moments(usize),
}

/// What a binding is to a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// What the dispatch is told.
    Params,
    /// The matrix of a product, or a table.
    Weights,
    /// Rows that are read.
    Source,
    /// Rows that are written.
    Result,
    /// The hoisted input product.
    Gates,
    /// Which rows have a step.
    Live,
    /// The hidden state.
    Hidden,
    /// What a cell keeps beside its hidden state.
    Memory,
    /// The outputs of a run of layers.
    Output,
    /// What workgroups hand each other.
    Exchange,
    /// Tokens.
    Tokens,
    /// How tokens are drawn.
    Draws,
    /// Training: what a step keeps for the way back through it.
    Kept,
    /// Training: gradients of rows.
    Delta,
    /// Training: a gradient of states that came through a product.
    Product,
    /// Training: a gradient of states that goes past the products.
    Direct,
    /// Training: the gradient of cell states.
    Carry,
    /// Training: a matrix whose panels end in peepholes.
    Peepholes,
    /// Training: what goes past the products, of hidden states and of cell states.
    Past,
    /// Training: a GRU's recurrent product, and its gradient.
    Recurrent,
    /// Training: what goes into the new gate of a GRU besides, and its gradient.
    New,
    /// Training: the value that one is compared with.
    Other,
    /// Training: rows by their tokens.
    Order,
    /// Training: where the rows of each token start.
    Starts,
    /// Training: the numbers that outputs are compared with.
    Values,
    /// Training: how much each row counts.
    Scale,
    /// Training: how much each class counts.
    ClassWeights,
    /// Training: what each row loses.
    Losses,
    /// Training: the numbers of an update.
    Scalars,
    /// Training: the squares of the norms of gradients.
    Norms,
    /// Training: what is kept of each weight from update to update.
    Moment,
    /// Training: the second such number.
    SecondMoment,
    /// Training: the third.
    ThirdMoment,
}

impl Role {
    /// How many there are.
    pub const COUNT: usize = Self::ThirdMoment as usize + 1;

    /// The name of the WGSL variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Weights => "weights",
            Self::Source => "source",
            Self::Result => "result",
            Self::Gates => "gates",
            Self::Live => "live",
            Self::Hidden => "hidden",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::Exchange => "exchange",
            Self::Tokens => "tokens",
            Self::Draws => "draws",
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

/// One binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The binding's index in group 0.
    pub index: u32,
    /// What it is to the kernel: its WGSL variable has the role's name.
    pub role: Role,
    /// How it is used.
    pub access: Access,
    /// When it is there.
    pub when: When,
}
