//! A matrix in a texture, four units a texel, as `shaders/part/weight_texture.wgsl` loads it.
//!
//! Knows rows and texels; knows no kernel and no plan.

use super::device::Device;
use crate::kernel::Medium;
use crate::pack::PackedBuffer;

/// A matrix of four-unit texels, row after row of [`Medium::WIDTH`].
#[derive(Clone)]
pub(super) struct Texture {
    pub(super) view: wgpu::TextureView,
    texture: wgpu::Texture,
    /// Bytes of a texel.
    texel: usize,
    /// Bytes of the matrix.
    pub(super) bytes: u64,
}

impl Texture {
    /// Makes a texture for `data`, which is at most [`Medium::most_bytes`] long.
    pub(super) fn new(device: &Device, label: &str, data: &PackedBuffer) -> Self {
        let (format, texel) = match data {
            PackedBuffer::F32(_) => (wgpu::TextureFormat::Rgba32Float, 16),
            PackedBuffer::F16(_) => (wgpu::TextureFormat::Rgba16Float, 8),
            PackedBuffer::I8 { .. } => (wgpu::TextureFormat::Rgba8Sint, 4),
        };
        let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST;
        Self::of(device, label, (format, texel), data.bytes().len() as u64, usage)
    }

    /// Makes a texture for `bytes` of 32-bit floats that kernels write, at most [`Medium::most_bytes`].
    pub(super) fn scratch(device: &Device, label: &str, bytes: u64) -> Self {
        let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::STORAGE_BINDING;
        Self::of(device, label, (wgpu::TextureFormat::Rgba32Float, 16), bytes, usage)
    }

    fn of(
        device: &Device,
        label: &str,
        (format, texel): (wgpu::TextureFormat, usize),
        bytes: u64,
        usage: wgpu::TextureUsages,
    ) -> Self {
        let texels = bytes.div_ceil(texel as u64);
        let height = u32::try_from(texels.div_ceil(Medium::WIDTH.into())).expect("8,192 rows at most");
        let texture = device.texture(&wgpu::TextureDescriptor {
            label: Some(label),
            size: wgpu::Extent3d { width: Medium::WIDTH, height: height.max(1), depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        });
        let view = device.texture_view(&texture);
        Self { view, texture, texel, bytes }
    }

    /// Writes `data` from byte `at` on, which starts a row: whole rows, then the part of the last one.
    pub(super) fn write(&self, device: &Device, at: usize, data: &[u8]) {
        let row = Medium::WIDTH as usize * self.texel;
        let (rows, part) = data.split_at(data.len() / row * row);
        for (first, data) in [(at / row, rows), (at / row + rows.len() / row, part)] {
            if data.is_empty() {
                continue;
            }
            let count = |number: usize| u32::try_from(number).expect("8,192 rows at most");
            device.queue.write_texture(
                wgpu::TexelCopyTextureInfo {
                    texture: &self.texture,
                    mip_level: 0,
                    origin: wgpu::Origin3d { x: 0, y: count(first), z: 0 },
                    aspect: wgpu::TextureAspect::All,
                },
                data,
                wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(count(row)), rows_per_image: None },
                wgpu::Extent3d {
                    width: count(data.len().min(row) / self.texel),
                    height: count(data.len().div_ceil(row)),
                    depth_or_array_layers: 1,
                },
            );
        }
    }
}
