//! The plan: everything that is decided about a call, as plain data. No bytes, no device, no closures:
//! equal inputs give equal plans, and `Display` prints a stable text.
//!
//! `lower` makes plans, `check` proves what must hold, `tune` chooses (`strategy` names what there is to choose from),
//! `work` counts what they take; executors only obey.

#![deny(clippy::wildcard_enum_match_arm)]

mod caller;
pub mod check;
mod idle;
pub mod lower;
mod shape;
mod strategy;
mod text;
pub mod tune;
mod work;

pub use caller::{Caller, FeedData, Listed, Results};
pub(crate) use caller::{MOST_LATER, StateRow};
pub(crate) use idle::Idle;
pub use shape::{OtherSteps, Shape, Steps};
pub use strategy::Strategy;
pub(crate) use work::Spent;
pub use work::Work;

use crate::kernel::{Medium, Params, Program, RowLoss};
use crate::rule::Rule;

/// What a plan is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// What the model gives at every step.
    Outputs,
    /// The same, from states that stay where they are: a run cannot be had again.
    Frames,
    /// What values of the model begin its stacks with, for rows of a batch that begin.
    Beginnings,
    /// Tokens: one is drawn from what this output gives at each step, counted from 0 among those that are no final states,
    /// and the next step takes it.
    Tokens(usize),
}

/// What a plan of gradients takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gradients {
    /// The losses whose sum is to become small.
    pub losses: Vec<LossTerm>,
    /// Whether the gradients of the weights are given. Where neither these nor others are, there is no way back.
    pub weights: bool,
    /// What becomes of these.
    pub ends: Ends,
    /// Whether the gradients of the model's inputs of features are given.
    pub inputs: bool,
    /// Whether those of the initial states are that the host writes.
    pub states: bool,
    /// Whether the final states are given, to begin the next call with.
    pub finals: bool,
    /// Whether dropout drops.
    pub drops: bool,
}

/// What becomes of the gradients of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ends {
    /// The host reads them.
    #[default]
    Read,
    /// They stay where they are found, and are gone with the plan's buffers.
    Left,
    /// They are [kept](SlotKind::Kept) for an update, and added to what is kept unless they are the `first`.
    Kept {
        /// Whether they are.
        first: bool,
    },
}

/// How an update makes new weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moves {
    /// The arithmetic.
    pub rule: Rule,
    /// Whether each tensor has a norm of its own, by which it is clipped.
    pub by_tensor: bool,
}

/// What a training holds on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stored {
    /// The weights.
    Weights,
    /// What an optimizer keeps of each: the one of its moments.
    Moment(usize),
}

/// A loss of one output of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LossTerm {
    /// Which of the outputs that are no final states.
    pub output: usize,
    /// Whether it is of what goes into the output's last function, and not of what comes out.
    pub logits: bool,
    /// What a row loses.
    pub loss: RowLoss,
}

/// A call, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is planned, in a line.
    pub title: String,
    /// The sizes of the call.
    pub shape: Shape,
    /// Every buffer; a [`SlotId`] is an index into it.
    pub slots: Vec<Slot>,
    /// The programs, each once.
    pub programs: Vec<Program>,
    /// The params of the dispatches, each once.
    pub params: Vec<Params>,
    /// What the host writes before the first dispatch.
    pub writes: Vec<Write>,
    /// The dispatches, in order; each sees what those before it wrote.
    pub steps: Vec<Dispatch>,
    /// What the host reads after the last.
    pub reads: Vec<Read>,
}

/// The index of a slot.
pub type SlotId = usize;

/// Float slots of a plan by name, with what is in them.
#[doc(hidden)]
pub type Slots = Vec<(String, Vec<f32>)>;

/// A buffer of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The name, unique in the plan.
    pub name: String,
    /// Its axes, slowest first.
    pub dims: Vec<usize>,
    /// Bytes in all.
    pub bytes: u64,
    /// What it is for.
    pub kind: SlotKind,
}

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// Weights: the index into `Packed`. Shared by all plans of a model; never written.
    Weights(usize),
    /// f32 written by the host: the input.
    Input,
    /// u32 written by the host: tokens, the mask, how tokens are drawn; and tokens that are drawn.
    Index,
    /// u32 that workgroups of a dispatch hand each other. The first word is [`EMPTY`](crate::kernel::EMPTY) after a run,
    /// or one of them waited in vain: then nothing that the run gave is worth anything.
    Exchange,
    /// f32 of the device's own.
    Scratch,
    /// f32 of the device's own in a texture, four a texel, row after row of [`Medium::WIDTH`].
    Texture,
    /// f32 that the host reads.
    Output,
    /// f32 of a training that stay from run to run: the index into what its executor keeps. Shared by all plans of a
    /// model, as [`kept`] numbers it.
    Kept(usize),
}

impl SlotKind {
    /// Whether it is for what the device computes on the way.
    pub fn is_scratch(self) -> bool {
        matches!(self, Self::Scratch | Self::Texture)
    }

    /// What holds a slot that is its plan's alone. A model's weights are where its layout has them.
    pub fn medium(self) -> Medium {
        match self {
            Self::Texture => Medium::Texture,
            Self::Weights(_)
            | Self::Kept(_)
            | Self::Input
            | Self::Index
            | Self::Exchange
            | Self::Scratch
            | Self::Output => Medium::Buffer,
        }
    }

    /// Whether the slot is its plan's alone.
    pub fn is_own(self) -> bool {
        !matches!(self, Self::Weights(_) | Self::Kept(_))
    }
}

/// What a training keeps, by its index.
pub mod kept {
    /// Sums of the squares of gradients: [`OF_HOST`], [`OF_LOSS`], and then those of parts of the packed buffers.
    pub const SUMS: usize = 0;
    /// The sum that the host knows: of what it updates itself.
    pub const OF_HOST: usize = 0;
    /// 0, or NaN where a loss is not finite.
    pub const OF_LOSS: usize = 1;

    /// The gradient of a packed buffer.
    pub fn gradient(buffer: usize) -> usize {
        1 + buffer
    }

    /// A moment of the weights of a packed buffer, of `buffers` in all.
    pub fn moment(buffers: usize, buffer: usize, moment: usize) -> usize {
        1 + buffers * (1 + moment) + buffer
    }
}

/// What a host writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    /// The features, `[T][B][padded features]` f32.
    Features,
    /// Another input of the model, counted from 0: features `[T][B][padded features]` f32, those of a row
    /// `[B][padded features]`, or tokens `[T][B]` u32.
    Other(usize),
    /// The tokens, `[T][B]` u32; of a plan that draws them the first, `[B]`.
    Tokens,
    /// How tokens are drawn, `[B]` [`Draw`](crate::kernel::Draw).
    Draws,
    /// The mask by a clock of the model, `[T][B]` u32.
    Live(usize),
    /// The mask by a clock from the last step to the first, `[T][B]` u32.
    LiveBackwards(usize),
    /// Whether a row has had a step by a clock yet, `[2][T][B]` u32: at t or before it, and at t or after it.
    Seen(usize),
    /// The second half of [`Seen`](Self::Seen) from the last step to the first, `[T][B]` u32.
    SeenBackwards(usize),
    /// What a loss compares its output with: classes `[T][B]` u32, or `[T][B][padded features]` f32.
    Targets(usize),
    /// How much each row of the output of a loss counts, `[T][B]` f32.
    Scale(usize),
    /// How much each class of a loss counts, one after the other, f32.
    ClassWeights(usize),
    /// The rows of the tokens that an embedding, a layer of the model, takes, by token, those of one token ascending,
    /// `[T · B]` u32. Rows that train nothing are behind the last.
    Order(usize),
    /// Where the rows of each token start among them, and where those of the last end, u32.
    Starts(usize),
    /// What a layer drops is drawn from: the key, two words, B of the whole batch, and the row of it where the tile begins.
    Dropped {
        /// Which layer of the model.
        layer: usize,
        /// Which of the places where it drops.
        place: usize,
    },
    /// The numbers of an update, f32 [`Scalars`](crate::rule::Scalars) of each role of a parameter.
    Scalars,
    /// The sum of the squares of gradients that the host knows, f32.
    Squares,
    /// The initial hidden state of a layer of a stack, `[B][D · padded]` f32.
    Hidden {
        /// Which recurrent stack of the model.
        stack: usize,
        /// Which layer of the stack.
        layer: usize,
    },
    /// The initial cell state of a layer of a stack, `[B][D · padded]` f32.
    Memory {
        /// Which recurrent stack of the model.
        stack: usize,
        /// Which layer of the stack.
        layer: usize,
    },
}

impl Feed {
    /// The clock of a mask.
    pub(crate) fn clock(self) -> usize {
        match self {
            Self::Live(clock) | Self::LiveBackwards(clock) | Self::Seen(clock) | Self::SeenBackwards(clock) => clock,
            Self::Features
            | Self::Other(_)
            | Self::Tokens
            | Self::Draws
            | Self::Targets(_)
            | Self::Scale(_)
            | Self::ClassWeights(_)
            | Self::Order(_)
            | Self::Starts(_)
            | Self::Dropped { .. }
            | Self::Scalars
            | Self::Squares
            | Self::Hidden { .. }
            | Self::Memory { .. } => 0,
        }
    }

    /// Whether it is a state.
    pub(crate) fn is_state(self) -> bool {
        matches!(self, Self::Hidden { .. } | Self::Memory { .. })
    }

    /// Whether this is the state of which `fetch` is the end.
    fn becomes(self, fetch: Fetch) -> bool {
        match (self, fetch) {
            (Self::Hidden { stack, layer }, Fetch::Hidden { stack: s, layer: l })
            | (Self::Memory { stack, layer }, Fetch::Memory { stack: s, layer: l }) => (stack, layer) == (s, l),
            _ => false,
        }
    }
}

/// A write of the host: `feed` goes into `slot` from byte `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// What.
    pub feed: Feed,
    /// Where to.
    pub slot: SlotId,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What a host reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// The model's output: `[T][B][padded]` or `[B][padded]` f32.
    Output,
    /// Another output of the model, counted from 0 among those that are no final states, as [`Output`](Self::Output).
    Other(usize),
    /// The tokens that were drawn, `[T][B]` u32: of each the bits of an f32.
    Tokens,
    /// What each row of the output of a loss loses, `[T][B]` f32.
    Losses(usize),
    /// The gradient of a packed buffer of weights, as that is laid out, f32; or such a buffer itself, or a moment of it.
    Weights(usize),
    /// The square of the norm of all gradients, f32.
    Norm,
    /// The gradient of an input of the model, counted from 0, as the host wrote that.
    Input(usize),
    /// The gradient of the initial hidden state of a layer of a stack, `[B][D · padded]` f32.
    InitialHidden {
        /// Which recurrent stack of the model.
        stack: usize,
        /// Which layer of the stack.
        layer: usize,
    },
    /// That of the initial cell state.
    InitialMemory {
        /// Which recurrent stack of the model.
        stack: usize,
        /// Which layer of the stack.
        layer: usize,
    },
    /// The final hidden state of a layer of a stack, `[B][D · padded]` f32.
    Hidden {
        /// Which recurrent stack of the model.
        stack: usize,
        /// Which layer of the stack.
        layer: usize,
    },
    /// The final hidden state of one direction of a layer of a stack: its part of the features of `[B][D · padded]` f32.
    /// What stands in the others' is not final.
    HiddenPart {
        /// Which recurrent stack of the model.
        stack: usize,
        /// Which layer of the stack.
        layer: usize,
        /// Which direction.
        direction: usize,
    },
    /// The final cell state of a layer of a stack, `[B][D · padded]` f32.
    Memory {
        /// Which recurrent stack of the model.
        stack: usize,
        /// Which layer of the stack.
        layer: usize,
    },
}

impl Fetch {
    /// Whether it is a state.
    pub(crate) fn is_state(self) -> bool {
        matches!(self, Self::Hidden { .. } | Self::HiddenPart { .. } | Self::Memory { .. })
    }
}

/// A read of the host: `bytes` of `slot` from byte `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// What.
    pub fetch: Fetch,
    /// Where from.
    pub slot: SlotId,
    /// From which byte on.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// A window of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The slot.
    pub slot: SlotId,
    /// Its first byte: a multiple of [`WINDOW_ALIGN`].
    pub offset: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// Windows start at multiples of this: the largest alignment that WebGPU allows a device to ask for.
pub const WINDOW_ALIGN: u64 = 256;

/// One dispatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// The index of its program.
    pub program: usize,
    /// The index of its params.
    pub params: usize,
    /// Workgroups in x, y, z.
    pub grid: [u32; 3],
    /// A window for each binding of the program but `params`, in the declaration's order.
    pub windows: Vec<Window>,
}

/// What a device can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the largest binding.
    pub binding_bytes: u64,
    /// Bytes of the largest buffer.
    pub buffer_bytes: u64,
    /// Workgroups a dimension.
    pub workgroups: u32,
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Bytes of a workgroup's memory.
    pub workgroup_bytes: u32,
    /// Iterations of loops that one invocation may run: more than these fail silently on some drivers
    /// (Mesa 22.3's lavapipe stops after 65,535).
    pub loop_iterations: u32,
    /// Workgroups of a dispatch that are known to run side by side, so that they may wait for each other; 1 where nothing
    /// is known.
    pub resident_workgroups: u32,
    /// Lanes that every subgroup has; 1 where kernels can exchange nothing in a subgroup.
    pub subgroup_lanes: u32,
}

impl Limits {
    /// What every WebGPU device has.
    pub const WEBGPU: Self = Self {
        binding_bytes: 128 << 20,
        buffer_bytes: 256 << 20,
        workgroups: 65_535,
        invocations: 256,
        workgroup_bytes: 16 << 10,
        loop_iterations: 65_535,
        resident_workgroups: 1,
        subgroup_lanes: 1,
    };

    /// The host's: memory alone. Sizes stay below 4 GiB elements, so that `Params` hold them.
    pub const HOST: Self = Self {
        binding_bytes: 1 << 40,
        buffer_bytes: 1 << 40,
        workgroups: u32::MAX,
        invocations: u32::MAX,
        workgroup_bytes: u32::MAX,
        loop_iterations: u32::MAX,
        resident_workgroups: u32::MAX,
        subgroup_lanes: 1,
    };
}

impl Plan {
    /// What workgroups of its dispatches hand each other, where they do.
    pub fn exchange(&self) -> Option<SlotId> {
        self.slots.iter().position(|slot| slot.kind == SlotKind::Exchange)
    }

    /// Bytes of the slots of a kind that `pick` takes.
    pub fn bytes(&self, pick: impl Fn(SlotKind) -> bool) -> u64 {
        self.slots.iter().filter(|slot| pick(slot.kind)).map(|slot| slot.bytes).sum()
    }

    /// Bytes of the params on a GPU, each at a multiple of the alignment of a uniform. The host reads them where they are.
    pub fn params_bytes(&self) -> u64 {
        self.params.len() as u64 * WINDOW_ALIGN
    }

    /// Bytes that the host reads back.
    pub fn staging_bytes(&self) -> u64 {
        self.reads.iter().map(|read| read.bytes).sum()
    }
}
