//! Elements of tensors in files: bytes of any type that is read → 32-bit floats.
//!
//! Knows types and bytes; knows no container.

use half::{bf16, f16};

/// The bytes of an element of type `dtype`, by the names of `.safetensors` files; `None` if the type is not read.
pub(super) fn float_bytes(dtype: &str) -> Option<u64> {
    match dtype {
        "F64" => Some(8),
        "F32" => Some(4),
        "F16" | "BF16" => Some(2),
        _ => None,
    }
}

/// The bytes of an element of type `dtype`, also of integers; `None` if the type is not read.
pub(super) fn number_bytes(dtype: &str) -> Option<u64> {
    float_bytes(dtype).or(match dtype {
        "I64" | "U64" => Some(8),
        "I32" | "U32" => Some(4),
        "I16" | "U16" => Some(2),
        "I8" | "U8" | "BOOL" => Some(1),
        _ => None,
    })
}

/// Returns the elements in `bytes`, of type `dtype` and least byte first. F64 and integers are rounded to the nearest.
/// An unknown type has no elements.
#[expect(clippy::cast_possible_truncation, reason = "F64 is rounded to the nearest f32, as documented")]
pub(super) fn floats(dtype: &str, bytes: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], float: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        let (elements, _) = bytes.as_chunks::<N>();
        elements.iter().map(|&element| float(element)).collect()
    }
    match dtype {
        "F64" => each(bytes, |b| f64::from_le_bytes(b) as f32),
        "F32" => each(bytes, f32::from_le_bytes),
        "F16" => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
        "BF16" => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        "I64" => each(bytes, |b| i64::from_le_bytes(b) as f32),
        "U64" => each(bytes, |b| u64::from_le_bytes(b) as f32),
        "I32" => each(bytes, |b| i32::from_le_bytes(b) as f32),
        "U32" => each(bytes, |b| u32::from_le_bytes(b) as f32),
        "I16" => each(bytes, |b| i16::from_le_bytes(b).into()),
        "U16" => each(bytes, |b| u16::from_le_bytes(b).into()),
        "I8" => each(bytes, |b| i8::from_le_bytes(b).into()),
        "U8" => each(bytes, |[b]| b.into()),
        "BOOL" => each(bytes, |[b]| f32::from(u8::from(b != 0))),
        _ => Vec::new(),
    }
}
