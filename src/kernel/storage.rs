//! How a device has weights: as which numbers, and in what.
//!
//! Shared by all stages that count bytes of weights, from layouts to executors. Knows panels and tables; knows no model.

use super::{LANES, WORKGROUP};

/// How a program's weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Storage {
    /// 32-bit floats.
    F32,
    /// 16-bit floats, two in a word; sums stay in f32.
    F16,
    /// 8-bit integers, four in a word, and a scale for each row of a matrix, which is what a unit of a gate takes: a weight is
    /// integer times scale. Scales, biases, peepholes and tables are 32-bit floats, and so are sums.
    I8,
}

impl Storage {
    /// Every storage.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::I8];

    /// The name, as plans and benchmarks write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "int8",
        }
    }

    /// How tables are stored, where matrices are stored so.
    #[must_use]
    pub fn of_tables(self) -> Self {
        match self {
            Self::F32 | Self::I8 => Self::F32,
            Self::F16 => Self::F16,
        }
    }

    /// Bytes of a weight.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }

    /// Bytes of a matrix' panel: `depth` rows of weights, then `after` rows of biases and peepholes, of `gates` gates each.
    /// More than 64 bits count saturate.
    pub fn panel_bytes(self, depth: u64, after: u64, gates: u64) -> u64 {
        let rows = match self {
            Self::F32 | Self::F16 => depth.saturating_add(after),
            // The row of scales, and those that are as wide as four rows of weights.
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
    /// A texture of [`Medium::WIDTH`] texels a row, four units each: a software GPU takes a texel as a whole, where it
    /// takes a buffer's numbers one by one. Bound whole, always.
    Texture,
}

impl Medium {
    /// Texels of a texture's row.
    pub const WIDTH: u32 = 1024;

    /// Workgroups of [`Kernel::ToTexture`](super::Kernel::ToTexture) for `count` numbers: in y a row of texels each.
    pub fn grid(count: u32) -> [u32; 2] {
        let texels = count.div_ceil(4);
        [texels.min(Self::WIDTH).div_ceil(WORKGROUP), texels.div_ceil(Self::WIDTH)]
    }

    /// Bytes of weights stored as `storage` that fit a texture on every WebGPU device.
    pub fn most_bytes(storage: Storage) -> u64 {
        8192 * u64::from(Self::WIDTH) * 4 * storage.bytes()
    }
}
