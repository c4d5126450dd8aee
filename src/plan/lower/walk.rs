//! The walk of each direction of a recurrent layer through time.
//!
//! A walk is only rows and steps: the order of the steps, and the rows of
//! hidden state, gates and mask of each. No kernel knows its direction.

use crate::model::Direction;

/// How one direction of a layer goes through time, and in which order its outputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// First step to last.
    Forward,
    /// Last step to first, with each output at its own step.
    Reverse,
    /// Last step to first, with the outputs in the order of the walk.
    Backwards,
}

impl Walk {
    /// Returns the walks of a layer's directions. A single direction is there twice.
    pub(super) fn of(direction: Direction) -> [Self; 2] {
        match direction {
            Direction::Forward => [Self::Forward; 2],
            Direction::Reverse => [Self::Reverse; 2],
            Direction::Backwards => [Self::Backwards; 2],
            Direction::Both => [Self::Forward, Self::Reverse],
        }
    }

    /// Returns the first step in time of steps `start .. start + len` of the walk.
    pub(super) fn first_step(self, start: usize, len: usize, time: usize) -> usize {
        match self {
            Self::Forward => start,
            Self::Reverse | Self::Backwards => time - start - len,
        }
    }

    /// Returns the rows of the hidden state that the walk's `index`-th step reads and writes, if `first` is the row of
    /// the first output. The initial state is in the row before it, or after the last, since there is no first step.
    pub(super) fn rows(self, index: usize, first: usize, time: usize) -> (usize, usize) {
        match self {
            Self::Forward | Self::Backwards => (first + index - 1, first + index),
            Self::Reverse => (first + time - index, first + time - 1 - index),
        }
    }

    /// Returns the row of the initial state in a slot of `rows` rows: the first, or the last.
    pub(super) fn initial_row(self, rows: usize) -> usize {
        match self {
            Self::Forward | Self::Backwards => 0,
            Self::Reverse => rows - 1,
        }
    }

    /// Returns the step in time that is the `index`-th of the walk.
    pub(super) fn step(self, index: usize, time: usize) -> usize {
        self.first_step(index, 1, time)
    }

    /// Returns the row, counted from that of the first step, in which the walk ends.
    pub(super) fn last_row(self, time: usize) -> usize {
        match self {
            Self::Forward | Self::Backwards => time - 1,
            Self::Reverse => 0,
        }
    }

    /// Returns the lowest row of the hidden state that steps
    /// `start .. start + len` of the walk touch. They touch `len + 1` rows.
    pub(super) fn lowest_row(self, start: usize, len: usize, first: usize, time: usize) -> usize {
        match self {
            Self::Forward | Self::Backwards => first + start - 1,
            Self::Reverse => first + time - start - len,
        }
    }

    /// Returns the rows from the output of one step to that of the next, modulo 2³².
    pub(super) fn hidden_step(self) -> u32 {
        match self {
            Self::Forward | Self::Backwards => 1,
            Self::Reverse => u32::MAX,
        }
    }

    /// Returns the timesteps from one step to the next, modulo 2³².
    pub(super) fn time_step(self) -> u32 {
        match self {
            Self::Forward => 1,
            Self::Reverse | Self::Backwards => u32::MAX,
        }
    }
}

/// Directions of a layer that go in one dispatch: `count` from `first` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Side {
    /// Returns both directions together, or each alone.
    pub(super) fn of(directions: usize, together: bool) -> &'static [Self] {
        match (directions, together) {
            (1, _) => &[Self { first: 0, count: 1 }],
            (_, true) => &[Self { first: 0, count: 2 }],
            (_, false) => &[Self { first: 0, count: 1 }, Self { first: 1, count: 1 }],
        }
    }
}
