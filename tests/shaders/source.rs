//! Maps a line of a linked module back to its file and line, by the marker line before each part.

use naga::Span;

/// The beginning of a marker line; the rest of it is the part's path under `shaders/`.
pub(crate) const MARKER: &str = "// part: ";

/// The file and line of line `line` (from 1) of the linked `text`.
pub(crate) fn place(text: &str, line: usize) -> String {
    let marker = text.lines().enumerate().take(line).filter_map(|(at, line)| Some((at, line.strip_prefix(MARKER)?)));
    match marker.last() {
        Some((at, path)) => format!("shaders/{path}:{}", line - at - 1),
        None => format!("line {line}"),
    }
}

/// The file and line where `span` of the linked `text` begins.
pub(crate) fn place_of(text: &str, span: Span) -> String {
    if span.is_defined() { place(text, span.location(text).line_number as usize) } else { "somewhere".to_owned() }
}

#[test]
fn a_place_is_the_file_and_line_of_a_part() {
    let text = "// part: part/a.wgsl\nfirst\nsecond\n// part: kernel/b.wgsl\nthird\n";
    assert_eq!(place(text, 2), "shaders/part/a.wgsl:1");
    assert_eq!(place(text, 3), "shaders/part/a.wgsl:2");
    assert_eq!(place(text, 5), "shaders/kernel/b.wgsl:1");
    assert_eq!(place("no marker\n", 1), "line 1");
}
