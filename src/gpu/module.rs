//! WGSL text → shader module: the one place where a module is made, and where an error in it gets its file.
//!
//! The text comes linked from the kernel's catalog. Here nothing is known of what it says.

use super::device::Device;

/// The line that the linker puts before each part of a text.
const MARKER: &str = "// part: ";

/// The module of `source`.
///
/// Made with all of wgpu's checks of bounds and loops; whoever wants them off changes this function alone.
pub(super) fn create(device: &Device, label: &str, source: &str) -> wgpu::ShaderModule {
    device.shader(wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source.into()) })
}

/// File and line of the first error in `module`, which was made of `source`.
pub(super) async fn error_place(module: &wgpu::ShaderModule, source: &str) -> Option<String> {
    let messages = module.get_compilation_info().await.messages;
    let error = messages.iter().find(|message| message.message_type == wgpu::CompilationMessageType::Error)?;
    place(source, error.location?.line_number as usize)
}

/// The part that line `line` of `source` lies in, and its line there; both count from 1.
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
