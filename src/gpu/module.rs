//! WGSL text → shader module: the only place that makes modules, and that finds the file of an error in one.
//!
//! The text comes linked from the kernel's catalog. This file knows nothing of its contents.

use super::device::Device;

/// The line that the linker writes before each part of a text.
const MARKER: &str = "// part: ";

/// Makes the module of `source`.
///
/// It has all of wgpu's checks of bounds and loops. To turn them off, only this function would have to change.
pub(super) fn create(device: &Device, label: &str, source: &str) -> wgpu::ShaderModule {
    device.shader(wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source.into()) })
}

/// Returns the file and line of the first error in `module`, which was made of `source`.
pub(super) async fn error_place(module: &wgpu::ShaderModule, source: &str) -> Option<String> {
    let messages = module.get_compilation_info().await.messages;
    let error = messages.iter().find(|message| message.message_type == wgpu::CompilationMessageType::Error)?;
    place(source, error.location?.line_number as usize)
}

/// Returns the part that has line `line` of `source`, and its line there. Both count from 1.
fn place(source: &str, line: usize) -> Option<String> {
    let lines: Vec<_> = source.lines().take(line).collect();
    let marker = lines.iter().rposition(|text| text.starts_with(MARKER))?;
    let file = lines[marker].trim_start_matches(MARKER).trim_end();
    Some(format!("shaders/{file}:{}", line - marker - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_placed_in_the_part_it_came_from() {
        let source = "// part: part/a.wgsl\nlet a = 1;\n// part: kernel/b.wgsl\nlet b = 1;\nlet c = ;\n";
        assert_eq!(place(source, 5).as_deref(), Some("shaders/kernel/b.wgsl:2"));
        assert_eq!(place(source, 2).as_deref(), Some("shaders/part/a.wgsl:1"));
        assert_eq!(place("let a = 1;", 1), None);
    }
}
