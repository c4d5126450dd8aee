//! Weights + Layout → Packed: the bytes of every packed buffer.

use crate::kernel::Storage;

/// The packed buffers of a model, in the layout's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// How they are stored.
    pub storage: Storage,
    /// One for each buffer of the layout.
    pub buffers: Vec<PackedBuffer>,
}

/// The data of one packed buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum PackedBuffer {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats; an even number of them.
    F16(Vec<half::f16>),
}

impl PackedBuffer {
    /// The bytes, as a GPU takes them.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(data) => bytemuck::cast_slice(data),
            Self::F16(data) => bytemuck::cast_slice(data),
        }
    }
}
