//! Textures of training: a software GPU reads four numbers of a texture faster than two of a buffer,
//! but an update writes buffers. So what products read many times is first copied into a texture.

use super::Lowering;
use super::dispatch::word;
use crate::error::Result;
use crate::kernel::{Matrix, Medium, Params, Program, Role, Training};
use crate::plan::{SlotId, SlotKind, Window};
use crate::precision::Precision;

/// What a texture holds a copy of.
pub(super) struct Copied {
    texture: SlotId,
    window: Window,
    /// The first number of the window, and the count.
    first: usize,
    count: usize,
    /// Whether the original has not been written since.
    fresh: bool,
}

impl Lowering<'_> {
    /// Returns what holds `bytes` of a product's factor.
    pub(super) fn medium_for(&self, bytes: u64) -> Medium {
        let fits = bytes <= Medium::most_bytes(Precision::F32).min(self.limits.binding_bytes);
        if fits { self.tuning.medium() } else { Medium::Buffer }
    }

    /// Returns the form in which products read the matrix in packed buffer `buffer`.
    pub(super) fn matrix(&self, buffer: usize) -> Matrix {
        let medium = if self.layout.trains {
            self.medium_for(self.layout.bytes_of(&self.layout.buffers[buffer]))
        } else {
            self.layout.medium_of(buffer)
        };
        Matrix { storage: self.layout.storage, medium }
    }

    /// Returns the form in which products read matrices in `slot`, which the plan itself has made.
    pub(super) fn matrix_in(&self, slot: SlotId) -> Matrix {
        Matrix { storage: Precision::F32, medium: self.plan.slots[slot].kind.medium() }
    }

    /// Copies all of `slot` into a texture.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`in_texture`](Self::in_texture).
    pub(super) fn all_in_texture(&mut self, slot: SlotId) -> Result<SlotId> {
        let count = self.plan.slots[slot].dims.iter().product();
        self.in_texture(self.whole(slot), 0, count)
    }

    /// Returns a texture with `count` numbers of `window` from
    /// `first` on. They are copied unless a texture already has them.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Internal` if the copy is bound wrong.
    pub(super) fn in_texture(&mut self, window: Window, first: usize, count: usize) -> Result<SlotId> {
        let of_slot = self.textures.entry(window.slot).or_default();
        let texture = if let Some(copied) = of_slot.iter_mut().find(|copied| copied.count == count) {
            if copied.fresh && (copied.window, copied.first) == (window, first) {
                return Ok(copied.texture);
            }
            *copied = Copied { window, first, fresh: true, ..*copied };
            copied.texture
        } else {
            let name = format!("{}.texels", self.plan.slots[window.slot].name);
            let texture = self.slot(name, SlotKind::Texture, &[count]);
            let copied = Copied { texture, window, first, count, fresh: true };
            self.textures.entry(window.slot).or_default().push(copied);
            texture
        };
        let params = Params { offset: word(first), count: word(count), ..Params::default() };
        let [x, y] = Medium::grid(params.count).map(|n| n as usize);
        let windows = [(Role::Source, Some(window)), (Role::Result, Some(self.whole(texture)))];
        self.dispatch(Program::Training(Training::ToTexture), params, [x, y, 1], &windows)?;
        Ok(texture)
    }

    /// Marks the copies of what a dispatch of `program` overwrites in `windows` as stale.
    pub(super) fn outdate(&mut self, program: usize, windows: &[Window]) {
        let bound = self.plan.programs[program].bindings().skip(1).zip(windows);
        for (_, window) in bound.filter(|(binding, _)| binding.access.is_write()) {
            for copied in self.textures.get_mut(&window.slot).into_iter().flatten() {
                copied.fresh = false;
            }
        }
    }
}
