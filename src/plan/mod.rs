//! The plan: every decision about a call, as plain data. It has no bytes, no device
//! and no closures. Equal inputs give equal plans, and `Display` prints a stable text.
//!
//! `lower` makes plans, and `check` proves what must hold. `tune` chooses among the ways
//! that `strategy` names, and `work` counts operations and bytes. Executors only obey.

#![deny(clippy::wildcard_enum_match_arm)]

pub mod check;
mod gradients;
mod host_io;
mod idle;
pub mod lower;
mod shape;
mod strategy;
mod text;
mod timings;
pub mod tune;
mod work;

pub use gradients::{GradientSink, Gradients, LossTerm, TrainedBuffer, UpdateRule, train_state};
pub use host_io::{FeedData, HostIo, ListedIo, Results};
pub use shape::{OtherSteps, Shape, Steps};
pub use strategy::Strategy;
pub use timings::Timings;
pub use work::Work;
pub(crate) use {host_io::MAX_PENDING, host_io::StateRow, idle::Idle, timings::Stopwatch, work::Spent};

use crate::kernel::{Medium, Params, Program};

/// What a plan computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// The outputs of the model at every step.
    Outputs,
    /// The outputs, from device states that the run overwrites: it cannot be repeated.
    Frames,
    /// The values that the model's stacks begin with, for rows of a batch that begin.
    Beginnings,
    /// Tokens: one is drawn from this output at each step, and the
    /// next step takes it. Outputs count from 0, without final states.
    Tokens(usize),
}

/// A call, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is planned, in one line.
    pub title: String,
    /// The sizes of the call.
    pub shape: Shape,
    /// Every buffer. A [`SlotId`] is an index into them.
    pub slots: Vec<Slot>,
    /// The programs, without repetition.
    pub programs: Vec<Program>,
    /// The params of the dispatches, without repetition.
    pub params: Vec<Params>,
    /// What the host writes before the first dispatch.
    pub writes: Vec<Write>,
    /// The dispatches, in order. Each sees what the earlier ones wrote.
    pub steps: Vec<Dispatch>,
    /// What the host reads after the last dispatch.
    pub reads: Vec<Read>,
}

/// The index of a slot.
pub type SlotId = usize;

/// The float slots of a plan, by name, with their contents.
pub type Slots = Vec<(String, Vec<f32>)>;

/// A buffer of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The name, unique in the plan.
    pub name: String,
    /// Its axes, slowest first.
    pub dims: Vec<usize>,
    /// Its size in bytes.
    pub bytes: u64,
    /// The kind of buffer.
    pub kind: SlotKind,
}

/// The purpose of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// Weights: the index into `Packed`. All plans of a model share them, and only an update writes them.
    Weights(usize),
    /// f32 written by the host: the input.
    Input,
    /// u32 written by the host: tokens, the mask, how tokens are drawn. Drawn tokens are here too.
    Index,
    /// u32 that workgroups of a dispatch hand each other. The first word is [`EMPTY`](crate::kernel::EMPTY)
    /// after a run, unless a workgroup stalled. Then nothing that the run gave may be used.
    Mailbox,
    /// f32 that only the device uses.
    Scratch,
    /// f32 that only the device uses, in a texture: four in each texel, row after row of [`Medium::WIDTH`].
    Texture,
    /// f32 that the host reads.
    Output,
    /// f32 of a training that stay from run to run: the index into what its executor
    /// keeps. All plans of a model share them, as [`train_state`] numbers them.
    TrainState(usize),
}

impl SlotKind {
    /// Whether the slot is for intermediate results of the device.
    pub fn is_scratch(self) -> bool {
        matches!(self, Self::Scratch | Self::Texture)
    }

    /// Returns what holds a slot that belongs to its plan alone. The layout says where a model's weights are.
    pub fn medium(self) -> Medium {
        match self {
            Self::Texture => Medium::Texture,
            Self::Weights(_)
            | Self::TrainState(_)
            | Self::Input
            | Self::Index
            | Self::Mailbox
            | Self::Scratch
            | Self::Output => Medium::Buffer,
        }
    }

    /// Whether the slot belongs to its plan alone.
    pub fn is_own(self) -> bool {
        !matches!(self, Self::Weights(_) | Self::TrainState(_))
    }
}

/// What a host writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    /// The features of the main input, `[T][B][padded features]` f32.
    Features,
    /// Another input of the model, counted from 0. Features are `[T][B][padded features]`
    /// f32, features of a row are `[B][padded features]`, and tokens are `[T][B]` u32.
    Other(usize),
    /// The tokens, `[T][B]` u32, or the first ones of a plan that draws them, `[B]`.
    Tokens,
    /// How tokens are drawn, `[B]` [`Draw`](crate::kernel::Draw).
    Draws,
    /// The mask of one of the model's clocks, `[T][B]` u32.
    Live(usize),
    /// The mask of a clock from the last step to the first, `[T][B]` u32.
    LiveBackwards(usize),
    /// Whether a row has had a live step of a clock yet, `[2][T][B]` u32: at t or before it, and at t or after it.
    Started(usize),
    /// The second half of [`Started`](Self::Started) from the last step to the first, `[T][B]` u32.
    StartedReversed(usize),
    /// The targets of a loss: classes `[T][B]` u32, or `[T][B][padded features]` f32.
    Targets(usize),
    /// The weight of each row of a loss's output, `[T][B]` f32.
    Scale(usize),
    /// The weights of the classes of a loss, f32.
    ClassWeights(usize),
    /// The rows that an embedding, a layer of the model, takes, ordered by their tokens, `[T · B]`
    /// u32. The rows of one token are ascending. Rows that train nothing are behind the last.
    Order(usize),
    /// Where the rows of each token start in that order, and where those of the last token end, u32.
    Starts(usize),
    /// What a layer draws its dropped elements from: the key (two
    /// words), B of the whole batch, and its first row in the tile.
    Dropped {
        /// The layer of the model.
        layer: usize,
        /// The place in the layer that drops.
        place: usize,
    },
    /// The numbers of an update: f32 [`Scalars`](crate::rule::Scalars) for each role of a parameter.
    Scalars,
    /// The sum of the squares of gradients that the host computes, f32.
    Squares,
    /// The initial hidden state of a layer of a stack, `[B][D · padded]` f32.
    Hidden {
        /// The recurrent stack of the model.
        stack: usize,
        /// The layer of the stack.
        layer: usize,
    },
    /// The initial cell state of a layer of a stack, `[B][D · padded]` f32.
    Cell {
        /// The recurrent stack of the model.
        stack: usize,
        /// The layer of the stack.
        layer: usize,
    },
}

impl Feed {
    /// Returns the clock of a mask.
    pub(crate) fn clock(self) -> usize {
        match self {
            Self::Live(clock) | Self::LiveBackwards(clock) | Self::Started(clock) | Self::StartedReversed(clock) => {
                clock
            }
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
            | Self::Cell { .. } => 0,
        }
    }

    /// Whether the feed is a state.
    pub(crate) fn is_state(self) -> bool {
        matches!(self, Self::Hidden { .. } | Self::Cell { .. })
    }

    /// Whether the feed is the initial value of the state whose final value is `fetch`.
    fn becomes(self, fetch: Fetch) -> bool {
        match (self, fetch) {
            (Self::Hidden { stack, layer }, Fetch::Hidden { stack: s, layer: l })
            | (Self::Cell { stack, layer }, Fetch::Cell { stack: s, layer: l }) => (stack, layer) == (s, l),
            _ => false,
        }
    }
}

/// A write of the host: `feed` goes into `slot` from byte `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// The data.
    pub feed: Feed,
    /// The slot that takes it.
    pub slot: SlotId,
    /// The first byte.
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// What a host reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fetch {
    /// The model's output: `[T][B][padded]` or `[B][padded]` f32.
    Output,
    /// Another output of the model, as [`Output`](Self::Output).
    /// It counts from 0 among those that are not final states.
    Other(usize),
    /// The tokens that were drawn, `[T][B]` u32, each as the bits of an f32.
    Tokens,
    /// The loss of each row of a loss's output, `[T][B]` f32.
    Losses(usize),
    /// The gradient of a packed buffer of weights, laid out as the
    /// buffer is, f32; or that buffer itself, or a moment of it.
    Weights(usize),
    /// The squared norm of all gradients, f32.
    Norm,
    /// The gradient of an input of the model, counted from 0, laid out as the host wrote the input.
    Input(usize),
    /// The gradient of the initial hidden state of a layer of a stack, `[B][D · padded]` f32.
    InitialHidden {
        /// The recurrent stack of the model.
        stack: usize,
        /// The layer of the stack.
        layer: usize,
    },
    /// The gradient of the initial cell state of a layer of a stack, `[B][D · padded]` f32.
    InitialCell {
        /// The recurrent stack of the model.
        stack: usize,
        /// The layer of the stack.
        layer: usize,
    },
    /// The final hidden state of a layer of a stack, `[B][D · padded]` f32.
    Hidden {
        /// The recurrent stack of the model.
        stack: usize,
        /// The layer of the stack.
        layer: usize,
    },
    /// The final hidden state of one direction of a layer of a stack: its part of the
    /// features of `[B][D · padded]` f32. The parts of other directions hold no final state.
    HiddenPart {
        /// The recurrent stack of the model.
        stack: usize,
        /// The layer of the stack.
        layer: usize,
        /// The direction.
        direction: usize,
    },
    /// The final cell state of a layer of a stack, `[B][D · padded]` f32.
    Cell {
        /// The recurrent stack of the model.
        stack: usize,
        /// The layer of the stack.
        layer: usize,
    },
}

impl Fetch {
    /// Whether the fetch is a state.
    pub(crate) fn is_state(self) -> bool {
        matches!(self, Self::Hidden { .. } | Self::HiddenPart { .. } | Self::Cell { .. })
    }
}

/// A read of the host: `bytes` of `slot` from byte `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The data.
    pub fetch: Fetch,
    /// The slot that holds it.
    pub slot: SlotId,
    /// The first byte.
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// A range of bytes of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The slot.
    pub slot: SlotId,
    /// The first byte: a multiple of [`WINDOW_ALIGN`].
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// Windows start at multiples of this: the largest alignment that a WebGPU device may ask for.
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
    /// One window for each binding of the program except `params`, in the declaration's order.
    pub windows: Vec<Window>,
}

/// What a device can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the largest binding.
    pub binding_bytes: u64,
    /// Bytes of the largest buffer.
    pub buffer_bytes: u64,
    /// Workgroups in one dimension.
    pub workgroups: u32,
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Bytes of a workgroup's memory.
    pub workgroup_bytes: u32,
    /// Loop iterations that one invocation may run. Some drivers fail
    /// silently with more (Mesa 22.3's lavapipe stops after 65,535).
    pub loop_iterations: u32,
    /// Workgroups of a dispatch that are known to be co-resident, so
    /// that they may wait for each other; 1 if this is not known.
    pub co_resident_workgroups: u32,
    /// Lanes that every subgroup has; 1 if kernels cannot exchange values in a subgroup.
    pub subgroup_lanes: u32,
}

impl Limits {
    /// The limits that every WebGPU device has.
    pub const WEBGPU: Self = Self {
        binding_bytes: 128 << 20,
        buffer_bytes: 256 << 20,
        workgroups: 65_535,
        invocations: 256,
        workgroup_bytes: 16 << 10,
        loop_iterations: 65_535,
        co_resident_workgroups: 1,
        subgroup_lanes: 1,
    };

    /// The host's limits: only memory. Sizes stay below 4 GiB elements, so that `Params` can hold them.
    pub const HOST: Self = Self {
        binding_bytes: 1 << 40,
        buffer_bytes: 1 << 40,
        workgroups: u32::MAX,
        invocations: u32::MAX,
        workgroup_bytes: u32::MAX,
        loop_iterations: u32::MAX,
        co_resident_workgroups: u32::MAX,
        subgroup_lanes: 1,
    };
}

impl Plan {
    /// Returns the mailbox of its dispatches, if they have one.
    pub fn mailbox(&self) -> Option<SlotId> {
        self.slots.iter().position(|slot| slot.kind == SlotKind::Mailbox)
    }

    /// Returns the bytes of all slots whose kind `pick` accepts.
    pub fn bytes(&self, pick: impl Fn(SlotKind) -> bool) -> u64 {
        self.slots.iter().filter(|slot| pick(slot.kind)).map(|slot| slot.bytes).sum()
    }

    /// Returns the bytes of the params on a GPU, each at a multiple
    /// of a uniform's alignment. The host reads them in place.
    pub fn params_bytes(&self) -> u64 {
        self.params.len() as u64 * WINDOW_ALIGN
    }

    /// Returns the bytes that the host reads back.
    pub fn staging_bytes(&self) -> u64 {
        self.reads.iter().map(|read| read.bytes).sum()
    }
}
