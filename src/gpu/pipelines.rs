//! Program → compute pipeline, compiled once and kept.
//!
//! Layouts come from the kernel's declaration, never from the shader, so that the
//! two are checked against each other. Knows programs; knows no plan and no buffer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::device::{Device, lock};
use super::module;
use crate::error::Result;
use crate::kernel::{Access, Params, Program, link};
use crate::platform::each_of;

/// Bytes of the smallest storage binding, one `vec4<f32>`. Buffers and bindings are rounded up to a multiple of it.
pub(super) const STORAGE_ALIGN: u64 = 16;

/// A compiled program.
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    /// The layout of group 0: `params` at a dynamic offset, then the storage buffers.
    pub(super) layout: wgpu::BindGroupLayout,
}

/// The compiled programs of a device.
#[derive(Default)]
pub(super) struct Pipelines(Mutex<HashMap<Program, Arc<Pipeline>>>);

impl Pipelines {
    /// Returns the pipelines of `programs`, in order. New ones are compiled in parallel if there are threads.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`get`](Self::get).
    pub(super) async fn all(&self, device: &Device, programs: &[Program]) -> Result<Vec<Arc<Pipeline>>> {
        each_of(programs, |program| self.get(device, program)).await
    }

    /// Returns the pipeline of `program`. Two threads that ask for a new one at the same time both compile it.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Device` if the driver or wgpu refuses
    /// the kernel. Its text begins with file and line if they are known.
    pub(super) async fn get(&self, device: &Device, program: &Program) -> Result<Arc<Pipeline>> {
        let known = lock(&self.0).get(program).cloned();
        if let Some(pipeline) = known {
            return Ok(pipeline);
        }
        let pipeline = Arc::new(compile(device, program).await?);
        Ok(lock(&self.0).entry(*program).or_insert(pipeline).clone())
    }
}

async fn compile(device: &Device, program: &Program) -> Result<Pipeline> {
    let name = program.kernel().name();
    let place = format!("kernel `{name}`");
    let source = link::source(program);
    let mut shader = None;
    let checked = device.guard(&place, || shader = Some(module::create(device, name, &source))).await;
    let shader = shader.expect("the guarded work has run");
    if let Err(error) = checked {
        let at = module::error_place(&shader, &source).await;
        return Err(at.into_iter().fold(error, |error, at| error.at(at)));
    }
    let pipeline = device.guard(&place, || pipeline(device, program, &shader)).await?;
    log::debug!("{}: compiled {program:?}", device.info.name);
    Ok(pipeline)
}

fn pipeline(device: &Device, program: &Program, module: &wgpu::ShaderModule) -> Pipeline {
    let label = Some(program.kernel().name());
    let entries: Vec<_> = program.bindings().map(|binding| entry(binding.index, binding.access)).collect();
    let layout = device.group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let pipeline_layout = device.pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&pipeline_layout),
        module,
        entry_point: label,
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &program.overrides(),
            // No kernel reads workgroup memory that it has not written.
            zero_initialize_workgroup_memory: false,
        },
        cache: None,
    });
    Pipeline { pipeline, layout }
}

fn entry(binding: u32, access: Access) -> wgpu::BindGroupLayoutEntry {
    let buffer = |ty, least: u64| wgpu::BindingType::Buffer {
        ty,
        has_dynamic_offset: access == Access::Uniform,
        min_binding_size: wgpu::BufferSize::new(least),
    };
    let storage = |read_only| buffer(wgpu::BufferBindingType::Storage { read_only }, STORAGE_ALIGN);
    let texture = |sample_type| wgpu::BindingType::Texture {
        sample_type,
        view_dimension: wgpu::TextureViewDimension::D2,
        multisampled: false,
    };
    let ty = match access {
        Access::Uniform => buffer(wgpu::BufferBindingType::Uniform, size_of::<Params>() as u64),
        Access::Read => storage(true),
        Access::ReadWrite => storage(false),
        Access::Texture => texture(wgpu::TextureSampleType::Float { filterable: false }),
        Access::IntegerTexture => texture(wgpu::TextureSampleType::Sint),
        Access::WriteTexture => wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::WriteOnly,
            format: wgpu::TextureFormat::Rgba32Float,
            view_dimension: wgpu::TextureViewDimension::D2,
        },
    };
    wgpu::BindGroupLayoutEntry { binding, visibility: wgpu::ShaderStages::COMPUTE, ty, count: None }
}
