//! The console blocks of a page, run line by line: what the page shows is what the commands print.
//!
//! A block shows what a command prints on both streams. `…` at the end of a line stands for the rest of it, and alone for any
//! lines. Numbers with a point are whatever they are, since a machine with other instructions rounds otherwise, and so is which
//! epoch is the best.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Folder, command};

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

/// A line without what hangs on the machine.
fn plain(line: &str) -> String {
    if line.starts_with("best: epoch ") {
        return "best".to_owned();
    }
    let line = line.strip_suffix("  best").unwrap_or(line);
    let is_number = |word: &str| {
        let word = word.trim_end_matches([',', ';']);
        word.contains('.') && word.parse::<f64>().is_ok()
    };
    line.split(' ').map(|word| if is_number(word) { "#" } else { word }).collect::<Vec<_>>().join(" ")
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
}
