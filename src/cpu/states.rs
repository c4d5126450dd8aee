//! Device states on the host: rows of a batch that is wider than that of any plan.
//!
//! Before a run they are copied to where the plan's host would write them. After it they are copied
//! back from where the host would read them. Knows a plan's states and their rows; knows no stream.

use super::buffers::{Buffer, Buffers, Floats, elems};
use crate::error::{Result, SMALLER_CALL};
use crate::plan::{Plan, SlotId, StateRow};

/// The states of every stack and layer of a model, initially zero.
pub(crate) struct States {
    /// In the order of [`Plan::states`], `[rows][width]`.
    all: Vec<(Floats, usize)>,
}

impl States {
    /// Makes `rows` rows of the states of a plan's model.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if there is no memory for them.
    pub(crate) fn of(plan: &Plan, rows: usize) -> Result<Self> {
        let widths = plan.states().map(|(write, _)| elems(write.bytes) / plan.shape.batch);
        let all = widths.map(|width| Ok((Floats::try_zeros("the states", rows * width, SMALLER_CALL)?, width)));
        Ok(Self { all: all.collect::<Result<_>>()? })
    }

    /// Makes room for `rows` rows. Old rows stay, and new ones are zero.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`of`](Self::of).
    pub(crate) fn grow(&mut self, rows: usize) -> Result<()> {
        for (data, width) in &mut self.all {
            let mut grown = Floats::try_zeros("the states", rows * *width, SMALLER_CALL)?;
            grown[..data.len()].copy_from_slice(data);
            *data = grown;
        }
        Ok(())
    }

    /// Clears row `row`.
    pub(crate) fn clear(&mut self, row: usize) {
        for (data, width) in &mut self.all {
            data[row * *width..][..*width].fill(0.0);
        }
    }

    /// Sets a row.
    pub(crate) fn set(&mut self, to: &StateRow) {
        let (data, width) = &mut self.all[to.state];
        let (numbers, padding) = data[to.row * *width..][..*width].split_at_mut(to.data.len());
        numbers.copy_from_slice(&to.data);
        padding.fill(0.0);
    }

    /// Copies rows from `first` on to the initial states of `plan`.
    pub(super) fn load(&self, plan: &Plan, first: usize, buffers: &mut Buffers) {
        for ((data, width), (write, _)) in self.all.iter().zip(plan.states()) {
            let len = elems(write.bytes);
            floats(buffers, write.slot)[elems(write.offset)..][..len].copy_from_slice(&data[first * width..][..len]);
        }
    }

    /// Copies the final states of `plan` to rows from `first` on.
    pub(super) fn store(&mut self, plan: &Plan, first: usize, buffers: &mut Buffers) {
        for ((data, width), (_, read)) in self.all.iter_mut().zip(plan.states()) {
            let len = elems(read.bytes);
            data[first * *width..][..len].copy_from_slice(&floats(buffers, read.slot)[elems(read.offset)..][..len]);
        }
    }
}

fn floats(buffers: &mut Buffers, slot: SlotId) -> &mut [f32] {
    match &mut buffers.slots[slot] {
        Buffer::Floats(data) => data,
        Buffer::Weights(_) | Buffer::Indices(_) => unreachable!("states are floats"),
    }
}
