//! What plans of gradients and updates are asked for, and the numbers of the buffers that they share.

use crate::kernel::RowLoss;
use crate::rule::Rule;

/// What a plan of gradients takes and gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gradients {
    /// The losses whose sum is to be minimized.
    pub losses: Vec<LossTerm>,
    /// Whether the gradients of the weights are given. If no gradients are given, there is no backward pass.
    pub weights: bool,
    /// What happens to these gradients.
    pub sink: GradientSink,
    /// Whether the gradients of the model's feature inputs are given.
    pub inputs: bool,
    /// Whether the gradients of the initial states that the host writes are given.
    pub states: bool,
    /// Whether the final states are given, so that the next call can begin with them.
    pub finals: bool,
    /// Whether dropout is active.
    pub drops: bool,
}

/// What happens to the gradients of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GradientSink {
    /// The host reads them.
    #[default]
    Read,
    /// They stay on the device and are lost with the plan's buffers.
    Discard,
    /// They are [kept](super::SlotKind::TrainState) for an update, and added to what is kept unless they are the `first`.
    Accumulate {
        /// Whether they are the first since the last update.
        first: bool,
    },
}

/// How an update makes new weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpdateRule {
    /// The arithmetic of the update.
    pub rule: Rule,
    /// Whether each tensor has its own norm to be clipped by.
    pub by_tensor: bool,
}

/// A buffer that a training holds on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrainedBuffer {
    /// The weights.
    Weights,
    /// What an optimizer keeps of each weight: the moment with this index.
    Moment(usize),
}

/// A loss of one output of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LossTerm {
    /// The index of the output, among those that are not final states.
    pub output: usize,
    /// Whether it takes the input of the output's last function, instead of the output.
    pub logits: bool,
    /// The loss of a row.
    pub loss: RowLoss,
}

/// The indices of what a training keeps.
pub mod train_state {
    /// Sums of the squares of gradients: [`OF_HOST`], [`OF_LOSS`], and then those of parts of the packed buffers.
    pub const SUMS: usize = 0;
    /// The sum that the host computes: of the gradients that it updates itself.
    pub const OF_HOST: usize = 0;
    /// 0, or NaN if a loss is not finite.
    pub const OF_LOSS: usize = 1;

    /// Returns the index of the gradient of a packed buffer.
    pub fn gradient(buffer: usize) -> usize {
        1 + buffer
    }

    /// Returns the index of a moment of a packed buffer's weights, with `buffers` buffers in all.
    pub fn moment(buffers: usize, buffer: usize, moment: usize) -> usize {
        1 + buffers * (1 + moment) + buffer
    }
}
