//! Runs the console blocks of README and docs, and the steps of
//! the tutorials, one by one. Each must print what its page shows.
//!
//! A step is a command of a console block, or a block of Rust whose output is in the block below. Steps in Rust
//! are those of `examples/tutorial.rs`, which is run here and prints into `SAID`. (rustdoc checks that the blocks
//! compile.) A command may continue on the next line after a `\`. The line that names the device is left out.
//!
//! A block shows what a command prints on both streams. `…` at the end of a line matches the rest of
//! it, and on a line of its own it matches any lines. Numbers with a decimal point may be any, since a
//! machine with other instructions rounds differently. For the same reason any epoch may be the best.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use crate::support::files;
use crate::{Folder, command};

thread_local! {
    /// The output of a step in Rust.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Shadows the one of `std` in the example.
macro_rules! println {
    ($($said:tt)*) => {
        super::say(&format!($($said)*))
    };
}

#[path = "../../examples/tutorial.rs"]
#[allow(dead_code, reason = "its main is called where it is an example")]
mod tutorial;

fn say(line: &str) {
    SAID.with_borrow_mut(|said| {
        said.push_str(line);
        said.push('\n');
    });
}

/// The lines of Rust that a step may have in its `main`.
const MOST_LINES: usize = 12;

/// A command of a page, and its expected output.
struct Shown {
    line: usize,
    command: String,
    output: Vec<String>,
}

/// Returns the commands of all blocks of ```` ```console ````.
fn shown(page: &str) -> Vec<Shown> {
    let (mut all, mut inside) = (Vec::<Shown>::new(), false);
    for (line, text) in (1..).zip(page.lines()) {
        match (text, inside) {
            ("```console", _) => inside = true,
            ("```", true) => inside = false,
            (_, false) => {}
            (text, true) if let Some(last) = all.last_mut().filter(|last| last.command.ends_with('\\')) => {
                last.command.pop();
                last.command.push_str(text);
            }
            (text, true) => match (text.strip_prefix("$ "), all.last_mut()) {
                (Some(command), _) => all.push(Shown { line, command: command.to_owned(), output: Vec::new() }),
                (None, Some(last)) => last.output.push(text.to_owned()),
                (None, None) => panic!("line {line}: a block begins with a command"),
            },
        }
    }
    for shown in &mut all {
        while shown.output.last().is_some_and(String::is_empty) {
            shown.output.pop();
        }
    }
    all
}

/// Returns the blocks between fences: the line of the first fence, the text after it, and the lines inside.
fn blocks(page: &str) -> Vec<(usize, &str, Vec<&str>)> {
    let (mut all, mut open) = (Vec::new(), None);
    for (line, text) in (1..).zip(page.lines()) {
        open = match (text.strip_prefix("```"), open) {
            (Some(language), None) => Some((line, language, Vec::new())),
            (Some(_), Some(block)) => {
                all.push(block);
                None
            }
            (None, Some((line, language, mut lines))) => {
                lines.push(text);
                Some((line, language, lines))
            }
            (None, None) => None,
        };
    }
    all
}

/// Returns the steps in Rust: the line of the block, the body of `main`, and the lines that it must print.
fn steps_in_rust(page: &str) -> Vec<(usize, Vec<&str>, Vec<String>)> {
    let all = blocks(page);
    let mut steps = Vec::new();
    for (at, (line, _, code)) in all.iter().enumerate().filter(|(_, (_, language, _))| *language == "rust") {
        let main = code.iter().position(|text| text.starts_with("fn main()")).expect("a step has a main");
        assert_eq!(code.last(), Some(&"}"), "line {line}: nothing stands behind main");
        let below = all.get(at + 1).filter(|(_, language, _)| *language == "text");
        let (.., output) = below.unwrap_or_else(|| panic!("line {line}: the step has no output below it"));
        let output = output.iter().map(|text| (*text).to_owned()).collect();
        steps.push((*line, code[main + 1..code.len() - 1].to_vec(), output));
    }
    steps
}

/// Returns the number in a word, if the word has a decimal point.
fn number(word: &str) -> Option<f64> {
    let word = word.trim_end_matches([',', ';']);
    word.parse().ok().filter(|_| word.contains('.'))
}

/// Returns a line without the parts that depend on the machine.
fn plain(line: &str) -> String {
    if line.starts_with("best: epoch ") {
        return "best".to_owned();
    }
    let line = line.strip_suffix("  best").unwrap_or(line);
    line.split(' ').map(|word| if number(word).is_some() { "#" } else { word }).collect::<Vec<_>>().join(" ")
}

fn is_alike(wanted: &str, got: &str) -> bool {
    match wanted.strip_suffix('…') {
        Some(begin) => got.starts_with(begin),
        None => plain(wanted) == plain(got),
    }
}

/// Whether `got` matches `wanted`.
fn are_alike(wanted: &[String], got: &[&str]) -> bool {
    match (wanted.split_first(), got.split_first()) {
        (None, None) => true,
        (Some((any, rest)), _) if any == "…" => (0..=got.len()).any(|skipped| are_alike(rest, &got[skipped..])),
        (Some((first, rest)), Some((line, behind))) => is_alike(first, line) && are_alike(rest, behind),
        _ => false,
    }
}

/// Runs the commands of the page `name` in a folder that looks like the project's root,
/// with its examples and models. Compares what they print, and returns their number.
fn run_page(name: &str, folder: &Folder) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = folder.path("");
    if !Path::new(&place).join("examples").exists() {
        files::copy(&["examples", "models"], &place);
    }
    let all = shown(&fs::read_to_string(root.join(name)).expect("a page"));
    for Shown { line, command: text, output } in &all {
        let (program, args) = text.split_once(' ').unwrap_or((text, ""));
        assert_eq!(program, "gatewave", "{name}, line {line}");
        let ran = command().args(files::arguments(args)).current_dir(&place).output().expect("the binary runs");
        let printed = String::from_utf8([ran.stderr, ran.stdout].concat()).expect("text");
        let printed: Vec<&str> = printed.lines().filter(|line| !line.starts_with("device: ")).collect();
        assert!(are_alike(output, &printed), "{name}, line {line}: {text}\n{}", printed.join("\n"));
    }
    all.len()
}

#[test]
fn the_pages_print_what_they_show() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = vec!["README.md".to_owned()];
    names.extend(files::files(&root.join("docs"), &["md"]).iter().map(|page| files::name(root, page)));
    // They have a test of their own, below.
    names.retain(|name| name != "docs/tutorials.md");
    assert!(names.len() > 10, "only {names:?}");
    let folder = Folder::new("pages");
    let commands: usize = names.iter().map(|name| run_page(name, &folder)).sum();
    assert!(commands >= 5, "only {commands} commands");
}

#[test]
fn the_tutorials_print_what_they_show() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Folder::new("tutorials");
    let commands = run_page("docs/tutorials.md", &folder);
    assert!(commands > 10, "only {commands} commands");
    let page = fs::read_to_string(root.join("docs/tutorials.md")).unwrap();
    // The pictures in the page are those that the commands drew.
    for (kept, drawn) in [("curve.svg", "embedding/curve.svg"), ("vanishing.svg", "norms.svg")] {
        assert!(page.contains(&format!("]({kept})")), "docs/tutorials.md shows no {kept}");
        let kept = fs::read_to_string(root.join("docs").join(kept)).unwrap();
        let drawn = fs::read_to_string(folder.path(drawn)).unwrap();
        assert_eq!(labels(&kept), labels(&drawn));
    }
}

/// Returns the words of a picture, without its numbers.
fn labels(svg: &str) -> Vec<String> {
    svg.lines().filter(|line| !line.starts_with('<') && line.parse::<f64>().is_err()).map(plain).collect()
}

#[test]
fn the_steps_in_rust_print_what_they_show() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/tutorials.md")).unwrap();
    let example = fs::read_to_string(root.join("examples/tutorial.rs")).unwrap();
    let steps = steps_in_rust(&page);
    assert_eq!(steps.len(), tutorial::STEPS.len());
    for ((line, code, output), run) in steps.into_iter().zip(tutorial::STEPS) {
        let place = format!("docs/tutorials.md, line {line}");
        assert!(code.len() <= MOST_LINES, "{place}: {} lines", code.len());
        let body = format!("-> Result<()> {{\n{}\n}}\n", code.join("\n"));
        assert!(example.contains(&body), "{place}: examples/tutorial.rs has another step");
        SAID.set(String::new());
        run().unwrap();
        let said = SAID.take();
        let printed: Vec<&str> = said.lines().collect();
        assert!(are_alike(&output, &printed), "{place}:\n{said}");
        let numbers = |text: &str| text.split_whitespace().filter_map(number).collect::<Vec<_>>();
        let (shown, got) = (numbers(&output.join("\n")), numbers(&said));
        assert!(shown.iter().zip(&got).all(|(a, b)| (a - b).abs() < 1e-3), "{place}:\n{said}");
    }
}

#[test]
fn what_differs_is_seen() {
    let page = "```console\n$ gatewave a\none 1.25 s\n…\nend\n\n$ gatewave b \\\n\"c d\"\n```\nnone\n```console\n$ gatewave e\nx…\n```\n";
    let all = shown(page);
    assert_eq!(
        all.iter().map(|shown| (shown.line, shown.command.as_str())).collect::<Vec<_>>(),
        [(2, "gatewave a"), (7, "gatewave b \"c d\""), (12, "gatewave e")]
    );
    let alike = |at: usize, got: &[&str]| are_alike(&all[at].output, got);
    assert!(alike(0, &["one 7.5 s", "two", "three", "end"]) && alike(0, &["one 0.1 s", "end"]));
    assert!(!alike(0, &["one 7.5 s", "two"]) && !alike(0, &["one 7.5 m", "end"]) && !alike(0, &["one 7 s", "end"]));
    assert!(alike(1, &[]) && !alike(1, &["more"]));
    assert!(alike(2, &["xyz"]) && !alike(2, &["y"]) && !alike(2, &["xyz", "more"]));

    let page =
        "```rust\nuse a;\n\nfn main() {\n    a();\n}\n```\n\n```text\n1\n2\n```\n\n```console\n$ gatewave a\n```\n";
    assert_eq!(steps_in_rust(page), [(1, vec!["    a();"], vec!["1".to_owned(), "2".to_owned()])]);
}
