//! Textures of training: a software GPU takes four numbers of a texture for less than two of a buffer, and an update writes
//! buffers. So what products take many times is copied into a texture first.

use super::Lowering;
use super::dispatch::word;
use crate::error::Result;
use crate::kernel::{Matrix, Medium, Params, Program, Role, Storage, Training, WORKGROUP};
use crate::plan::{SlotId, SlotKind, Window};

/// What a texture has a copy of.
pub(super) struct Copied {
    texture: SlotId,
    window: Window,
    /// The first number of the window.
    first: usize,
    /// The dispatch that copies it.
    step: usize,
}

impl Lowering<'_> {
    /// What holds `bytes` of what is multiplied.
    pub(super) fn medium_for(&self, bytes: u64) -> Medium {
        let fits = bytes <= Medium::most_bytes(Storage::F32).min(self.limits.binding_bytes);
        if fits { self.tuning.medium() } else { Medium::Buffer }
    }

    /// How products take the matrix in packed buffer `buffer`.
    pub(super) fn matrix(&self, buffer: usize) -> Matrix {
        let medium = if self.layout.trains {
            self.medium_for(self.layout.bytes_of(&self.layout.buffers[buffer]))
        } else {
            self.layout.medium_of(buffer)
        };
        Matrix { storage: self.layout.storage, medium }
    }

    /// How products take matrices in `slot`, which the plan itself has made.
    pub(super) fn matrix_in(&self, slot: SlotId) -> Matrix {
        let medium = match self.plan.slots[slot].kind {
            SlotKind::Texture => Medium::Texture,
            SlotKind::Weights(_)
            | SlotKind::Kept(_)
            | SlotKind::Input
            | SlotKind::Index
            | SlotKind::Exchange
            | SlotKind::Scratch
            | SlotKind::Output => Medium::Buffer,
        };
        Matrix { storage: Storage::F32, medium }
    }

    /// All of `slot` in a texture.
    ///
    /// # Errors
    ///
    /// As [`in_texture`](Self::in_texture).
    pub(super) fn all_in_texture(&mut self, slot: SlotId) -> Result<SlotId> {
        let count = self.plan.slots[slot].dims.iter().product();
        self.in_texture(self.whole(slot), 0, count)
    }

    /// A texture that has `count` numbers of `window` from `first` on: copied, unless they stand there already.
    ///
    /// # Errors
    ///
    /// Kind `Internal`, where the copy is bound wrong.
    pub(super) fn in_texture(&mut self, window: Window, first: usize, count: usize) -> Result<SlotId> {
        let (key, step) = ((window.slot, count), self.plan.steps.len());
        let written = self.written.get(&window.slot).copied().unwrap_or(0);
        let texture = match self.textures.get(&key) {
            Some(copied) if (copied.window, copied.first) == (window, first) && copied.step >= written => {
                return Ok(copied.texture);
            }
            Some(copied) => copied.texture,
            None => self.slot(format!("{}.texels", self.plan.slots[window.slot].name), SlotKind::Texture, &[count]),
        };
        self.textures.insert(key, Copied { texture, window, first, step });
        let params = Params { offset: word(first), count: word(count), ..Params::default() };
        let (texels, row) = (count.div_ceil(4), Medium::WIDTH as usize);
        let grid = [texels.min(row).div_ceil(WORKGROUP as usize), texels.div_ceil(row), 1];
        let windows = [(Role::Source, Some(window)), (Role::Result, Some(self.whole(texture)))];
        self.dispatch(Program::Training(Training::ToTexture), params, grid, &windows)?;
        Ok(texture)
    }
}
