//! How a device stores weights: the format of the numbers, and a buffer or a texture.
//!
//! Every stage that counts bytes of weights shares it, from
//! layouts to executors. Knows panels and tables; knows no model.

use super::{LANES, WORKGROUP};
use crate::precision::Precision;

impl Precision {
    /// Returns how tables are stored if matrices are stored as `self`.
    #[must_use]
    pub(crate) fn of_tables(self) -> Self {
        match self {
            Self::F32 | Self::I8 => Self::F32,
            Self::F16 => Self::F16,
        }
    }

    /// Returns the bytes of a weight.
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }

    /// Returns the bytes of a matrix' panel: `depth` rows of weights, then `after` rows of
    /// biases and peepholes. Each row has `gates` gates. A number past 64 bits saturates.
    pub(crate) fn panel_bytes(self, depth: u64, after: u64, gates: u64) -> u64 {
        let rows = match self {
            Self::F32 | Self::F16 => depth.saturating_add(after),
            // One row of scales, and `1 + after` rows that are each as wide as four rows of weights.
            Self::I8 => depth.saturating_add(4 * (1 + after)),
        };
        rows.saturating_mul(gates * LANES as u64 * self.bytes())
    }
}

/// What holds a matrix on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Medium {
    /// A storage buffer.
    #[default]
    Buffer,
    /// A texture of [`Medium::WIDTH`] texels a row, with four units in each texel. It is always
    /// bound whole. A software GPU reads a texel at once, but a buffer's numbers one by one.
    Texture,
}

impl Medium {
    /// Texels of a texture's row.
    pub const WIDTH: u32 = 1024;

    /// Returns the workgroups of [`Kernel::ToTexture`](super::Kernel::ToTexture)
    /// for `count` numbers: y counts the rows of texels.
    pub fn grid(count: u32) -> [u32; 2] {
        let texels = count.div_ceil(4);
        [texels.min(Self::WIDTH).div_ceil(WORKGROUP), texels.div_ceil(Self::WIDTH)]
    }

    /// Returns the most bytes of weights stored as `storage` that fit a texture on every WebGPU device.
    pub fn most_bytes(storage: Precision) -> u64 {
        8192 * u64::from(Self::WIDTH) * 4 * storage.bytes()
    }
}
