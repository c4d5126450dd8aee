//! GPU objects, made and counted: buffers, textures, bind groups, query sets, and the parts of a pipeline.
//!
//! No other file of `gpu` makes one (a test reads the sources), so the count tells whether a repeated
//! call made any. Command encoders are not counted: wgpu takes one for each submission. Knows no plan.

use std::sync::atomic::Ordering;

use super::device::Device;

impl Device {
    /// Makes a buffer.
    pub(super) fn buffer(&self, descriptor: &wgpu::BufferDescriptor<'_>) -> wgpu::Buffer {
        self.counted(|device| device.create_buffer(descriptor))
    }

    /// Makes a texture.
    pub(super) fn texture(&self, descriptor: &wgpu::TextureDescriptor<'_>) -> wgpu::Texture {
        self.counted(|device| device.create_texture(descriptor))
    }

    /// Makes a view of a whole texture.
    pub(super) fn texture_view(&self, texture: &wgpu::Texture) -> wgpu::TextureView {
        self.counted(|_| texture.create_view(&wgpu::TextureViewDescriptor::default()))
    }

    /// Makes a bind group.
    pub(super) fn bind_group(&self, descriptor: &wgpu::BindGroupDescriptor<'_>) -> wgpu::BindGroup {
        self.counted(|device| device.create_bind_group(descriptor))
    }

    /// Makes a set of queries.
    pub(super) fn query_set(&self, descriptor: &wgpu::QuerySetDescriptor<'_>) -> wgpu::QuerySet {
        self.counted(|device| device.create_query_set(descriptor))
    }

    /// Makes a shader module.
    pub(super) fn shader(&self, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
        self.counted(|device| device.create_shader_module(descriptor))
    }

    /// Makes the layout of a bind group.
    pub(super) fn group_layout(&self, descriptor: &wgpu::BindGroupLayoutDescriptor<'_>) -> wgpu::BindGroupLayout {
        self.counted(|device| device.create_bind_group_layout(descriptor))
    }

    /// Makes the layout of a pipeline.
    pub(super) fn pipeline_layout(&self, descriptor: &wgpu::PipelineLayoutDescriptor<'_>) -> wgpu::PipelineLayout {
        self.counted(|device| device.create_pipeline_layout(descriptor))
    }

    /// Makes a compute pipeline.
    pub(super) fn pipeline(&self, descriptor: &wgpu::ComputePipelineDescriptor<'_>) -> wgpu::ComputePipeline {
        self.counted(|device| device.create_compute_pipeline(descriptor))
    }

    /// Returns how many objects were made so far.
    pub(super) fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    fn counted<T>(&self, make: impl FnOnce(&wgpu::Device) -> T) -> T {
        self.objects.fetch_add(1, Ordering::Relaxed);
        make(&self.device)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Calls that make an object without this file's count.
    const UNCOUNTED: [&str; 3] = [".create_", ".write_buffer", "create_buffer_init"];

    /// Whether wgpu may make its own objects there: for uploads of weights and params, which stay, and NaNs for tests.
    fn is_allowed(file: &str, line: &str) -> bool {
        line.contains(".create_command_encoder")
            || file == "objects.rs"
            || line.contains(".write_buffer") && ["buffers.rs", "bound.rs"].contains(&file)
    }

    #[test]
    fn every_object_is_made_where_it_is_counted() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gpu");
        let (mut seen, mut found) = (0, Vec::new());
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            seen += 1;
            let text = fs::read_to_string(&path).unwrap();
            let made = text.lines().filter(|line| UNCOUNTED.iter().any(|call| line.contains(call)));
            found.extend(made.filter(|line| !is_allowed(&file, line)).map(|line| format!("{file}: {}", line.trim())));
        }
        assert!(seen > 8, "only {seen} files seen");
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
