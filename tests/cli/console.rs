//! The steps of the tutorials, run one by one: what the page shows is what they print.
//!
//! A step is a command of a console block, or a block of Rust with its output in the block below. Steps in Rust are those of
//! `examples/tutorial.rs`, which is run here and prints into `SAID`. (That the blocks compile as they stand, rustdoc tells.)
//!
//! A block shows what a command prints on both streams. `…` at the end of a line stands for the rest of it, and alone for any
//! lines. Numbers with a point are whatever they are, since a machine with other instructions rounds otherwise, and so is which
//! epoch is the best.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Folder, command};

thread_local! {
    /// What a step in Rust has printed.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Stands before the one of `std` in the example.
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

/// A command of a page, and what it is to print.
struct Shown {
    line: usize,
    command: String,
    output: Vec<String>,
}

/// The commands of all blocks of ```` ```console ````.
fn shown(page: &str) -> Vec<Shown> {
    let (mut all, mut inside) = (Vec::<Shown>::new(), false);
    for (line, text) in (1..).zip(page.lines()) {
        match (text, inside) {
            ("```console", _) => inside = true,
            ("```", true) => inside = false,
            (_, false) => {}
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

/// The blocks between fences: the line of the first fence, what stands behind it, and the lines within.
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

/// The steps in Rust: the line of the block, what stands in `main`, and the lines that it is to print.
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

/// The number of a word that has a point.
fn number(word: &str) -> Option<f64> {
    let word = word.trim_end_matches([',', ';']);
    word.parse().ok().filter(|_| word.contains('.'))
}

/// A line without what hangs on the machine.
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

/// Whether `got` is what `wanted` shows.
fn are_alike(wanted: &[String], got: &[&str]) -> bool {
    match (wanted.split_first(), got.split_first()) {
        (None, None) => true,
        (Some((any, rest)), _) if any == "…" => (0..=got.len()).any(|skipped| are_alike(rest, &got[skipped..])),
        (Some((first, rest)), Some((line, behind))) => is_alike(first, line) && are_alike(rest, behind),
        _ => false,
    }
}

#[test]
fn the_tutorials_print_what_they_show() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Folder::new("tutorials");
    let place = folder.path("");
    // The page is read at the root of the project.
    assert!(Command::new("cp").args(["-R", "examples", &place]).current_dir(root).status().unwrap().success());
    let page = fs::read_to_string(root.join("docs/tutorials.md")).unwrap();
    let all = shown(&page);
    assert!(all.len() > 10, "only {} commands", all.len());
    for Shown { line, command: text, output } in all {
        let (program, args) = text.split_once(' ').unwrap();
        assert_eq!(program, "gatewave", "docs/tutorials.md, line {line}");
        // No argument of the page has a quote within.
        let args = args.split('"').enumerate().flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().collect::<Vec<_>>(),
            _ => vec![part],
        });
        let ran = command().args(args).current_dir(&place).output().unwrap();
        let printed = String::from_utf8([ran.stderr, ran.stdout].concat()).unwrap();
        let printed: Vec<&str> = printed.lines().filter(|line| !line.starts_with("device: ")).collect();
        assert!(are_alike(&output, &printed), "docs/tutorials.md, line {line}: {text}\n{}", printed.join("\n"));
    }
    // The pictures in the page are those that the commands drew.
    for (kept, drawn) in [("curve.svg", "embedding/curve.svg"), ("vanishing.svg", "norms.svg")] {
        assert!(page.contains(&format!("]({kept})")), "docs/tutorials.md shows no {kept}");
        let kept = fs::read_to_string(root.join("docs").join(kept)).unwrap();
        let drawn = fs::read_to_string(folder.path(drawn)).unwrap();
        assert_eq!(words(&kept), words(&drawn));
    }
}

/// The words of a picture, without its numbers.
fn words(svg: &str) -> Vec<String> {
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
    let page = "```console\n$ gatewave a\none 1.25 s\n…\nend\n\n$ gatewave b \"c d\"\n```\nnone\n```console\n$ gatewave e\nx…\n```\n";
    let all = shown(page);
    assert_eq!(
        all.iter().map(|shown| (shown.line, shown.command.as_str())).collect::<Vec<_>>(),
        [(2, "gatewave a"), (7, "gatewave b \"c d\""), (11, "gatewave e")]
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
