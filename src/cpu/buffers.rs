//! The host's buffers: slots of a plan, weights, and what a dispatch binds of them.
//!
//! Floats start at a cache line, so that no register's load crosses
//! two. Knows slots and windows; knows no meaning of a kernel.

use std::fmt::Display;
use std::mem;
use std::ops::{Deref, DerefMut};

use bytemuck::Zeroable;

use crate::error::{Result, SMALLER_CALL, SMALLER_MODEL, zeros};
use crate::kernel::{POISON, Params, Program, Role};
use crate::pack::{Line, PackedBuffer};
use crate::plan::{Plan, Read, SlotId, SlotKind, Window};
use crate::platform::affordable;

/// Floats that start at a cache line.
#[derive(Clone, Debug, Default)]
pub(super) struct Floats {
    lines: Vec<Line>,
    len: usize,
}

impl Floats {
    /// Makes `len` zeros.
    pub(super) fn zeros(len: usize) -> Self {
        Self { lines: vec![Line::zeroed(); len.div_ceil(16)], len }
    }

    /// Makes `len` zeros for `what`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if there is no memory for them.
    pub(super) fn try_zeros(what: impl Display, len: usize, hint: &str) -> Result<Self> {
        Ok(Self { lines: zeros(what, &[len.div_ceil(16)], hint)?, len })
    }

    /// Returns at least `len` floats with any values.
    pub(super) fn reserve(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            *self = Self::zeros(len);
        }
        &mut self[..len]
    }
}

impl Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Floats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

/// A buffer of weights as 32-bit floats, in whatever format they were packed.
#[derive(Debug)]
pub(super) struct Weights {
    floats: Floats,
    /// `unit.0` bytes of a plan hold `unit.1` floats.
    unit: (u64, u64),
}

impl Weights {
    /// Widens the weights. Rounded weights stay rounded.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if there is no memory for them.
    pub(super) fn widened(buffer: PackedBuffer) -> Result<Self> {
        Ok(match buffer {
            PackedBuffer::F32(lines) => Self { floats: Floats { len: 16 * lines.len(), lines }, unit: (4, 1) },
            PackedBuffer::F16(data) => {
                let mut floats = Floats::try_zeros("weights", data.len(), SMALLER_MODEL)?;
                half::slice::HalfFloatSliceExt::convert_to_f32_slice(&data[..], &mut floats);
                Self { floats, unit: (2, 1) }
            }
            PackedBuffer::I8 { words, shape } => {
                let panels = bytemuck::cast_slice(&words).chunks_exact(shape.integer_bytes());
                let mut floats = Floats::try_zeros("weights", panels.len() * shape.floats(), SMALLER_MODEL)?;
                for (panel, floats) in panels.zip(floats.chunks_exact_mut(shape.floats())) {
                    shape.widen(panel, floats);
                }
                Self { floats, unit: (shape.integer_bytes() as u64, shape.floats() as u64) }
            }
        })
    }

    /// Returns the floats.
    pub(super) fn into_floats(self) -> Floats {
        self.floats
    }

    /// Returns the weights of `window`, which a plan cuts between panels.
    fn cut(&self, window: Window) -> &[f32] {
        let floats = |bytes: u64| 4 * (bytes / self.unit.0 * self.unit.1);
        cut(&self.floats, Window { offset: floats(window.offset), bytes: floats(window.bytes), ..window })
    }
}

/// The contents of a slot.
#[derive(Debug)]
pub(super) enum Buffer {
    /// Weights, by their index: the executor has them.
    Weights(usize),
    /// 32-bit floats.
    Floats(Floats),
    /// Indices.
    Indices(Vec<u32>),
}

/// The slots of one call, and scratch for its kernels.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// One for each slot of the plan.
    pub(super) slots: Vec<Buffer>,
    /// For kernels whose results wait before they go to their place.
    pub(super) scratch: Floats,
    /// Whether some of the slots have what a training keeps.
    pub(super) keep: bool,
}

impl Buffers {
    /// Makes zeroed buffers for `plan`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Limits` if there is no memory for them.
    pub(super) fn of(plan: &Plan) -> Result<Self> {
        let bytes = plan.bytes(SlotKind::is_own);
        affordable("the slots of the call", bytes, SMALLER_CALL)?;
        let slots = plan.slots.iter().map(|slot| {
            let what = format_args!("slot {}", slot.name);
            Ok(match slot.kind {
                SlotKind::Weights(index) => Buffer::Weights(index),
                // Lent for each run.
                SlotKind::TrainState(_) => Buffer::Floats(Floats::default()),
                SlotKind::Index | SlotKind::Mailbox => {
                    Buffer::Indices(zeros(what, &[elems(slot.bytes)], SMALLER_CALL)?)
                }
                SlotKind::Input | SlotKind::Scratch | SlotKind::Texture | SlotKind::Output => {
                    Buffer::Floats(Floats::try_zeros(what, elems(slot.bytes), SMALLER_CALL)?)
                }
            })
        });
        Ok(Self { slots: slots.collect::<Result<_>>()?, scratch: Floats::default(), keep: keeps(plan) })
    }

    /// Makes buffers for `plan`, with all floats [`POISON`].
    ///
    /// # Errors
    ///
    /// Returns the errors of [`of`](Self::of).
    pub(super) fn poisoned(plan: &Plan) -> Result<Self> {
        let mut buffers = Self::of(plan)?;
        for slot in &mut buffers.slots {
            if let Buffer::Floats(data) = slot {
                data.fill(f32::from_bits(POISON));
            }
        }
        Ok(buffers)
    }

    /// Takes the floats of a slot out of it, so that they can be written while other slots are read.
    pub(super) fn take(&mut self, slot: SlotId) -> Floats {
        let Buffer::Floats(data) = mem::replace(&mut self.slots[slot], Buffer::Weights(usize::MAX)) else {
            unreachable!("a kernel writes floats, and no weights")
        };
        data
    }

    /// Returns the data of `read`, which may be in `weights`.
    pub(super) fn read<'a>(&'a self, read: Read, weights: &'a [Weights]) -> &'a [f32] {
        match &self.slots[read.slot] {
            Buffer::Floats(data) => &data[elems(read.offset)..][..elems(read.bytes)],
            // Drawn tokens, bit for bit.
            Buffer::Indices(data) => bytemuck::cast_slice(&data[elems(read.offset)..][..elems(read.bytes)]),
            Buffer::Weights(index) => {
                weights[*index].cut(Window { slot: read.slot, offset: read.offset, bytes: read.bytes })
            }
        }
    }

    /// Swaps the weights that `plan` writes with those in `weights`: to lend them, and to take them back.
    pub(super) fn swap_weights(&mut self, plan: &Plan, weights: &mut [Weights]) {
        for (buffer, slot) in self.slots.iter_mut().zip(&plan.slots) {
            if let SlotKind::Weights(index) = slot.kind {
                *buffer = match mem::replace(buffer, Buffer::Weights(index)) {
                    Buffer::Floats(floats) => {
                        weights[index].floats = floats;
                        Buffer::Weights(index)
                    }
                    Buffer::Weights(_) | Buffer::Indices(_) => Buffer::Floats(mem::take(&mut weights[index].floats)),
                };
            }
        }
    }

    /// Swaps what a training keeps with those slots of `plan`: to lend it, and to take it back.
    pub(super) fn swap_kept(&mut self, plan: &Plan, kept: &mut [Floats]) {
        for (buffer, slot) in self.slots.iter_mut().zip(&plan.slots) {
            if let (Buffer::Floats(floats), SlotKind::TrainState(index)) = (buffer, slot.kind) {
                mem::swap(floats, &mut kept[index]);
            }
        }
    }

    /// Whether these buffers fit `plan`. Their contents do not matter, since a plan reads only what it wrote.
    pub(super) fn fit(&self, plan: &Plan) -> bool {
        self.keep == keeps(plan)
            && self.slots.len() == plan.slots.len()
            && self.slots.iter().zip(&plan.slots).all(|(buffer, slot)| match (buffer, slot.kind) {
                (Buffer::Weights(a), SlotKind::Weights(b)) => *a == b,
                (Buffer::Floats(_), SlotKind::TrainState(_)) => true,
                (Buffer::Indices(data), SlotKind::Index | SlotKind::Mailbox) => data.len() == elems(slot.bytes),
                (Buffer::Floats(data), SlotKind::Input | SlotKind::Scratch | SlotKind::Texture | SlotKind::Output) => {
                    data.len() == elems(slot.bytes)
                }
                _ => false,
            })
    }
}

/// Returns whether `plan` reads or writes what a training keeps.
fn keeps(plan: &Plan) -> bool {
    plan.slots.iter().any(|slot| matches!(slot.kind, SlotKind::TrainState(_)))
}

/// Returns the number of 32-bit words in `bytes`.
pub(super) fn elems(bytes: u64) -> usize {
    usize::try_from(bytes / 4).expect("a plan's sizes are the host's")
}

/// The windows of a dispatch, to read.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) program: &'a Program,
    pub(super) windows: &'a [Window],
    pub(super) weights: &'a [Weights],
    pub(super) slots: &'a [Buffer],
}

impl<'a> View<'a> {
    /// Returns the floats bound as `role`.
    pub(super) fn floats(self, role: Role) -> &'a [f32] {
        let window = window(self.program, self.windows, role);
        match &self.slots[window.slot] {
            Buffer::Weights(index) => self.weights[*index].cut(window),
            Buffer::Floats(data) => cut(data, window),
            Buffer::Indices(data) => bytemuck::cast_slice(cut(data, window)),
        }
    }

    /// Returns the indices bound as `role`.
    pub(super) fn indices(self, role: Role) -> &'a [u32] {
        let window = window(self.program, self.windows, role);
        match &self.slots[window.slot] {
            Buffer::Indices(data) => cut(data, window),
            Buffer::Floats(data) => bytemuck::cast_slice(cut(data, window)),
            Buffer::Weights(index) => bytemuck::cast_slice(self.weights[*index].cut(window)),
        }
    }
}

/// A dispatch with its buffers.
pub(super) struct Bound<'a> {
    pub(super) program: &'a Program,
    pub(super) params: &'a Params,
    /// How many directions the dispatch computes.
    pub(super) sides: usize,
    pub(super) windows: &'a [Window],
    pub(super) weights: &'a [Weights],
    pub(super) buffers: &'a mut Buffers,
}

impl Bound<'_> {
    /// Returns what it binds, to read.
    pub(super) fn view(&self) -> View<'_> {
        let Self { program, windows, weights, .. } = *self;
        View { program, windows, weights, slots: &self.buffers.slots }
    }

    /// Returns the floats bound as `role`.
    pub(super) fn floats(&self, role: Role) -> &[f32] {
        self.view().floats(role)
    }

    /// Returns the indices bound as `role`.
    pub(super) fn indices(&self, role: Role) -> &[u32] {
        self.view().indices(role)
    }

    /// Returns the window bound as `role`.
    pub(super) fn window(&self, role: Role) -> Window {
        window(self.program, self.windows, role)
    }

    /// Runs `write` with the floats bound as `role` to write, and the rest to read. No slot is bound twice.
    pub(super) fn write(&mut self, role: Role, write: impl FnOnce(&Self, &mut [f32])) {
        let window = window(self.program, self.windows, role);
        let mut data = self.buffers.take(window.slot);
        write(self, cut_mut(&mut data, window));
        self.buffers.slots[window.slot] = Buffer::Floats(data);
    }

    /// Runs `write` with the floats bound as each of `roles` to write,
    /// and the rest to read. A role without a binding has none.
    pub(super) fn write_each<const N: usize>(&mut self, roles: [Role; N], write: impl FnOnce(&Self, [&mut [f32]; N])) {
        let windows = roles.map(|role| bound(self.program, self.windows, role));
        let mut data = windows.map(|window| window.map(|window| self.buffers.take(window.slot)).unwrap_or_default());
        let mut windowed = windows.iter();
        let each = data.each_mut().map(|data| match windowed.next() {
            Some(Some(window)) => cut_mut(data, *window),
            _ => &mut [],
        });
        write(self, each);
        for (window, data) in windows.into_iter().zip(data) {
            if let Some(window) = window {
                self.buffers.slots[window.slot] = Buffer::Floats(data);
            }
        }
    }

    /// Returns the floats bound as `role`, or none if nothing is.
    pub(super) fn floats_or_none(&self, role: Role) -> &[f32] {
        bound(self.program, self.windows, role).map_or(&[], |_| self.floats(role))
    }

    /// Returns the indices bound as `role`, or none if nothing is.
    pub(super) fn indices_or_none(&self, role: Role) -> &[u32] {
        bound(self.program, self.windows, role).map_or(&[], |_| self.indices(role))
    }

    /// Runs `write` with the indices bound as `role` to write, and the rest to read.
    pub(super) fn write_indices(&mut self, role: Role, write: impl FnOnce(&Self, &mut [u32])) {
        let window = window(self.program, self.windows, role);
        let slot = mem::replace(&mut self.buffers.slots[window.slot], Buffer::Weights(usize::MAX));
        let Buffer::Indices(mut data) = slot else { unreachable!("a kernel writes tokens where tokens are") };
        write(self, &mut data[elems(window.offset)..][..elems(window.bytes)]);
        self.buffers.slots[window.slot] = Buffer::Indices(data);
    }
}

/// Returns the window that `program` binds as `role`, if it does.
pub(super) fn bound(program: &Program, windows: &[Window], role: Role) -> Option<Window> {
    let mut bindings = program.bindings();
    bindings.next();
    bindings.zip(windows).find(|(binding, _)| binding.role == role).map(|(_, window)| *window)
}

fn window(program: &Program, windows: &[Window], role: Role) -> Window {
    bound(program, windows, role).expect("a kernel asks for what it declares")
}

fn cut<T>(data: &[T], window: Window) -> &[T] {
    &data[elems(window.offset)..][..elems(window.bytes)]
}

/// Returns the floats of a window, to write.
pub(super) fn cut_mut(data: &mut [f32], window: Window) -> &mut [f32] {
    &mut data[elems(window.offset)..][..elems(window.bytes)]
}
