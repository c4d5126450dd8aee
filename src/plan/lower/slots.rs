//! Slots: the buffers of a plan, with those that the host writes.

use super::ops::{Axis, Op, OpKind, Ops, Sequence, Source, Span};
use super::{HostInput, Lowering};
use crate::error::{Error, Result};
use crate::kernel::{Draw, LANES, Mask};
use crate::layout::{Form, depth};
use crate::model::Flow;
use crate::plan::{Feed, Goal, Slot, SlotId, SlotKind};

impl Lowering<'_> {
    pub(super) fn slot(&mut self, name: impl Into<String>, kind: SlotKind, dims: &[usize]) -> SlotId {
        let bytes = dims.iter().fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64));
        let name = self.free_name(name.into());
        self.plan.slots.push(Slot { name, dims: dims.to_vec(), bytes, kind });
        self.plan.slots.len() - 1
    }

    /// Returns `name`, with a number behind it if a slot has the name already: a layer may take several last outputs.
    fn free_name(&mut self, name: String) -> String {
        let count = self.names.entry(name.clone()).or_insert(0);
        *count += 1;
        if *count == 1 {
            return name;
        }
        let mut number = *count;
        while self.names.contains_key(&format!("{name}.{number}")) {
            number += 1;
        }
        self.names.insert(name.clone(), number);
        let numbered = format!("{name}.{number}");
        self.names.insert(numbered.clone(), 1);
        numbered
    }

    /// Returns the slot of packed buffer `buffer`.
    pub(super) fn weights(&mut self, buffer: usize) -> SlotId {
        if let Some(&slot) = self.weights.get(&buffer) {
            return slot;
        }
        let slot = self.weights_slot(buffer);
        *self.names.entry(slot.name.clone()).or_insert(0) += 1;
        self.plan.slots.push(slot);
        let slot = self.plan.slots.len() - 1;
        self.weights.insert(buffer, slot);
        slot
    }

    /// Describes the slot of packed buffer `buffer`.
    pub(super) fn weights_slot(&self, buffer: usize) -> Slot {
        let packed = &self.layout.buffers[buffer];
        let dims = match packed.form {
            Form::Matrix { matrices, panels, source, gates, extra, .. } => {
                vec![matrices, panels, depth(source) + 1 + extra, gates, LANES]
            }
            Form::Table { directions, rows, width } => vec![directions, rows, width],
        };
        let bytes = self.layout.bytes_of(packed);
        Slot { name: packed.name.clone(), dims, bytes, kind: SlotKind::Weights(buffer) }
    }

    /// Makes the slots that the host writes, and the gates that all layers share.
    pub(super) fn inputs(&mut self, all: &Ops) -> Result<()> {
        let (ops, batch) = (&all.ops, self.shape.batch);
        let main = self.model.main_input();
        for (index, input) in self.model.all_inputs()?.into_iter().enumerate() {
            let clock = all.inputs.get(index).copied().flatten();
            let axis = clock.map_or(Axis::Rows, Axis::Steps);
            // Inputs that streams do not take at each frame are not written at each frame.
            let is_read = self.goal == Goal::Outputs
                || ops.iter().any(|op| op.from.contains(&Source::Input(index)))
                || matches!(self.goal, Goal::Tokens(_)) && index == main;
            let input =
                input.kind.flow().filter(|_| is_read).map(|flow| self.host_input(index, index == main, flow, axis));
            self.inputs.push(input);
        }
        if matches!(self.goal, Goal::Tokens(_)) {
            let slot = self.slot("draws", SlotKind::Index, &[batch, size_of::<Draw>() / 4]);
            self.write(Feed::Draws, slot, 0, batch);
            self.draws = Some(slot);
        }
        if self.shape.mask == Mask::Live {
            self.mask(Feed::Live(0));
        }
        for op in ops {
            if let OpKind::MaskOutputs(visible) = op.kind {
                self.mask(visible.feed);
            }
            if let OpKind::Attention(attending) = op.kind
                && self.shape.steps(attending.clock).mask == Mask::Live
            {
                self.mask(Feed::Live(attending.clock));
            }
            if let Some(clock) = op.counts()
                && self.shape.steps(clock).mask == Mask::Live
            {
                self.mask(Feed::Live(clock));
            }
            if let Some(r) = op.recurrence()
                && self.shape.steps(r.clock).mask == Mask::Live
            {
                self.mask(Feed::Live(r.clock));
            }
        }
        let widest = ops.iter().map(Op::gates_width).filter(|&width| width > 0);
        if let Some(widest) = widest.max() {
            self.gates = Some(self.slot("gates", SlotKind::Scratch, &[self.chunk, batch, widest]));
        }
        let mut shared = Vec::new();
        for op in ops {
            if self.is_shared(op)? {
                shared.push(depth(op.features));
            }
        }
        if let Some(widest) = shared.into_iter().max() {
            let rows = self.chunk.saturating_mul(batch).saturating_add(1);
            self.mailbox = Some(self.slot("mailbox", SlotKind::Mailbox, &[rows, widest]));
        }
        Ok(())
    }

    /// Makes the slot of input `index` of the model.
    fn host_input(&mut self, index: usize, is_main: bool, flow: Flow, axis: Axis) -> HostInput {
        let (time, batch) = (axis.time(self.shape), self.shape.batch);
        let named = |name: &str| if is_main { name.to_owned() } else { format!("{name}.{index}") };
        let (Flow::Steps(features) | Flow::Rows(features)) = flow else {
            // Drawn tokens come behind the first ones.
            let (rows, written) = match self.goal {
                Goal::Outputs | Goal::Frames | Goal::Beginnings => (time, time),
                Goal::Tokens(_) => (time.saturating_add(1), 1),
            };
            let slot = self.slot(named("tokens"), SlotKind::Index, &[rows, batch]);
            self.write(if is_main { Feed::Tokens } else { Feed::Other(index) }, slot, 0, written);
            return HostInput::Tokens(slot);
        };
        let slot = self.slot(named("input"), SlotKind::Input, &[time, batch, depth(features)]);
        self.write(if is_main { Feed::Features } else { Feed::Other(index) }, slot, 0, time);
        HostInput::Features(Sequence { slot, first: 0, features, axis, span: Span::Whole })
    }

    /// Returns the slot of a mask, and makes it if there is none yet.
    fn mask(&mut self, feed: Feed) -> SlotId {
        if let Some(&slot) = self.masks.get(&feed) {
            return slot;
        }
        let (time, batch) = (self.shape.steps(feed.clock()).time, self.shape.batch);
        let started = matches!(feed, Feed::Started(_));
        let (dims, rows): (&[usize], usize) = if started { (&[2, time, batch], 2) } else { (&[time, batch], time) };
        let slot = self.slot(feed.to_string().replace(' ', "."), SlotKind::Index, dims);
        self.write(feed, slot, 0, rows);
        self.masks.insert(feed, slot);
        slot
    }

    /// Returns the slot of the mask of `clock`, if rows differ in their live steps.
    pub(super) fn live(&self, clock: usize) -> Option<SlotId> {
        let masked = self.shape.steps(clock).mask == Mask::Live;
        self.masks.get(&Feed::Live(clock)).copied().filter(|_| masked)
    }

    /// Returns the slot of the tokens that the model takes.
    pub(super) fn main_tokens(&self) -> Result<SlotId> {
        match self.inputs.get(self.model.main_input()).copied().flatten() {
            Some(HostInput::Tokens(slot)) => Ok(slot),
            _ => Err(Error::internal("a plan: expected a slot of tokens, got none")),
        }
    }

    /// Returns the row of the last step, counted from the first.
    pub(super) fn last_row(&self, sequence: Sequence) -> usize {
        let last = sequence.axis.time(self.shape) - 1;
        match sequence.span {
            Span::Whole => last,
            Span::Chunk => last % self.chunk,
        }
    }
}
