//! How the pages read: short sentences, lines that fit, no unclear phrases, and a glossary of words that are used.
//!
//! Tables, code and quotations are not prose. A piece of inline code counts as one word.

#[path = "support/files.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests have it in a module, and use all of it")]
mod files;

use std::fs;
use std::path::Path;

/// The most words of a sentence.
const MOST_WORDS: usize = 25;

/// The most columns of a line. Rows of tables cannot be broken, nor can what a console shows.
const MOST_COLUMNS: usize = 120;

/// Phrases that must not occur, and what to say instead or why.
const NOT_SAID: &[(&str, &str)] = &[
    ("whatever gpu there is", "a claim that nothing has measured"),
    ("what the file says", "a file does not speak"),
    ("all there is to say", "a file does not speak"),
    ("stands in a", "things are somewhere, or a file has them"),
    ("a dispatch a step", "one dispatch for each step"),
    ("a line a ", "one line for each"),
    ("a digit of none", "say which digits to trust"),
    ("a model of nothing", "an empty model"),
    ("to one way through time", "to one strategy"),
    ("the road of a call", "how a call is computed"),
    ("with a scale a row", "with one scale for each row"),
    ("by hand alone", "only on request"),
    ("in the place of", "instead of"),
    ("goes by scans", "uses scans"),
    ("is told of", "say who reports what"),
    ("in vain", "stalled"),
    ("foresee", "predict, or forecast"),
    ("anew", "again"),
    ("whoever", "say who it is"),
    ("a submit ", "for each submission"),
    ("stands beside", "is beside"),
    ("of before", "earlier, or older"),
    ("way back", "backward pass"),
];

/// A page, by its path from the root, with its text.
type Page = (String, String);

/// Returns the pages for readers.
fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    paths.extend(files::files(&root.join("docs"), &["md"]));
    paths.sort();
    paths.iter().map(|path| (files::name(root, path), fs::read_to_string(path).expect("a page"))).collect()
}

/// A paragraph or an item of a list: its first line, and its text on one line.
type Paragraph = (usize, String);

/// The beginnings of lines that are no prose: code, a row of a table, a heading, a comment, a picture, a quotation.
const NO_PROSE: &[&str] = &["```", "|", "#", "<!--", "![", ">"];

/// Returns the prose of a page: no code, no tables, no headings, no pictures, and nothing that a test prints into it.
fn paragraphs(page: &str) -> Vec<Paragraph> {
    let (mut all, mut open, mut fenced, mut printed) = (Vec::<Paragraph>::new(), false, false, false);
    for (line, text) in (1..).zip(page.lines()) {
        let trimmed = text.trim();
        printed = (printed || trimmed.ends_with(": begin -->")) && !trimmed.ends_with(": end -->");
        fenced ^= trimmed.starts_with("```");
        let is_prose = !trimmed.is_empty() && !NO_PROSE.iter().any(|start| trimmed.starts_with(start));
        if fenced || printed || !is_prose {
            open = false;
        } else if let (Some((_, paragraph)), true, None) = (all.last_mut(), open, item(trimmed)) {
            paragraph.push(' ');
            paragraph.push_str(trimmed);
        } else {
            all.push((line, item(trimmed).unwrap_or(trimmed).to_owned()));
            open = true;
        }
    }
    all
}

/// Returns the text after the mark of an item of a list.
fn item(line: &str) -> Option<&str> {
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = if digits.len() < line.len() { digits.strip_prefix(". ") } else { None };
    line.strip_prefix("- ").or(numbered)
}

/// Returns the text with each piece of inline code as one word, and each link as its words.
fn plain(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(at, part)| if at % 2 == 1 { "code" } else { part });
    let mut rest = parts.collect::<String>();
    while let Some(open) = rest.find("](") {
        let end = rest[open..].find(')').map_or(rest.len(), |close| open + close + 1);
        rest.replace_range(open..end, "");
    }
    rest.replace(['[', ']', '*'], "")
}

/// Returns the sentences of a paragraph.
fn sentences(text: &str) -> Vec<Vec<&str>> {
    let words: Vec<_> = text.split_whitespace().collect();
    words.split_inclusive(|word| ends(word)).map(<[_]>::to_vec).collect()
}

/// Whether a sentence ends at `word`.
fn ends(word: &str) -> bool {
    let word = word.trim_end_matches([')', '"', '”']);
    let abbreviations = ["e.g.", "i.e.", "vs.", "cf.", "al."];
    word.ends_with(['.', '!', '?']) && !abbreviations.contains(&word)
}

/// Returns how many words a sentence has; dashes and signs of arithmetic are none.
fn words(sentence: &[&str]) -> usize {
    sentence.iter().filter(|word| word.contains(char::is_alphanumeric)).count()
}

/// Returns the errors in the sentences of a page.
fn long_sentences(name: &str, page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (line, paragraph) in paragraphs(page) {
        let text = plain(&paragraph);
        let long = sentences(&text).into_iter().filter(|sentence| words(sentence) > MOST_WORDS);
        found.extend(long.map(|sentence| {
            let count = words(&sentence);
            let begin = sentence.into_iter().take(12).collect::<Vec<_>>().join(" ");
            format!("{name}, from line {line}: a sentence of {count} words, at most {MOST_WORDS}: {begin} …")
        }));
    }
    found
}

/// Returns the errors in the lines of a page.
fn long_lines(name: &str, page: &str) -> Vec<String> {
    let (mut found, mut printed, mut shown) = (Vec::new(), false, false);
    for (line, text) in (1..).zip(page.lines()) {
        printed = (printed || text.ends_with(": begin -->")) && !text.ends_with(": end -->");
        shown = text == "```console" || shown && text != "```";
        let columns = text.chars().count();
        let is_free = printed || shown || text.starts_with('|');
        if columns > MOST_COLUMNS && !is_free {
            found.push(format!("{name}, line {line}: {columns} columns, at most {MOST_COLUMNS}"));
        }
    }
    found
}

/// Returns the forbidden phrases of a page.
fn phrases(name: &str, page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (line, paragraph) in paragraphs(page) {
        let text = plain(&paragraph).to_lowercase();
        let said = NOT_SAID.iter().filter(|(phrase, _)| text.contains(phrase));
        found.extend(said.map(|(phrase, why)| format!("{name}, from line {line}: `{phrase}` is not said: {why}")));
    }
    found
}

/// Returns the words that the glossary of ARCHITECTURE.md explains.
fn glossary(page: &str) -> Vec<String> {
    let below = page.split_once("## Glossary").map_or("", |(_, below)| below);
    let table = below.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let first = rows.skip(2).filter_map(|row| row.split('|').nth(1));
    first.flat_map(|cell| cell.split(',')).map(|word| word.trim().to_lowercase()).collect()
}

#[test]
fn every_sentence_is_short() {
    let found: Vec<_> = pages().iter().flat_map(|(name, page)| long_sentences(name, page)).collect();
    assert!(found.is_empty(), "{} sentences:\n{}", found.len(), found.join("\n"));
}

/// The beginnings of a section on errors.
const ERRORS_BEGIN: &[&str] = &["Returns ", "As ", "Stops with ", "The same "];

/// Returns the sections on errors in the doc comments of a source that begin otherwise, by their lines.
fn odd_errors(text: &str) -> Vec<usize> {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let heads = (0..lines.len()).filter(|&at| lines[at] == "/// # Errors");
    let first = |at: usize| lines.get(at + 2).and_then(|line| line.strip_prefix("/// ")).unwrap_or_default();
    heads.filter(|&at| !ERRORS_BEGIN.iter().any(|begin| first(at).starts_with(begin))).map(|at| at + 1).collect()
}

#[test]
fn every_section_on_errors_says_what_is_returned() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for file in files::files(&sources, &["rs"]) {
        let odd = odd_errors(&fs::read_to_string(&file).expect("a source"));
        found.extend(odd.iter().map(|line| format!("{}, line {line}", files::name(&sources, &file))));
    }
    assert!(found.is_empty(), "expected one of {ERRORS_BEGIN:?} below `# Errors`:\n{}", found.join("\n"));
    assert_eq!(odd_errors("/// # Errors\n///\n/// Errors of reading.\n/// # Errors\n///\n/// As `f`.\n"), [1]);
}

#[test]
fn every_line_fits() {
    let found: Vec<_> = pages().iter().flat_map(|(name, page)| long_lines(name, page)).collect();
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}

/// Returns the doc comments of a source as a page. Code without comments becomes empty lines.
fn doc_comments(text: &str) -> String {
    let comment = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).unwrap_or_default().trim().to_owned()
    };
    text.lines().map(comment).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_page_and_no_doc_comment_says_what_is_not_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = files::files(&root.join("src"), &["rs"]);
    let sources = sources.iter().map(|path| (files::name(root, path), fs::read_to_string(path).expect("a source")));
    let mut all = pages();
    all.extend(sources.map(|(name, text)| (name, doc_comments(&text))));
    let found: Vec<_> = all.iter().flat_map(|(name, page)| phrases(name, page)).collect();
    assert!(found.is_empty(), "{} phrases:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_word_of_the_glossary_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words = glossary(&fs::read_to_string(root.join("ARCHITECTURE.md")).expect("a page"));
    assert!(words.len() >= 20, "only {} words: {words:?}", words.len());
    let sources = ["src", "shaders"].iter().flat_map(|folder| files::files(&root.join(folder), &["rs", "wgsl"]));
    let text: String = sources.map(|path| fs::read_to_string(path).expect("a source").to_lowercase()).collect();
    // `host IO` is `HostIo` or `host_io` there.
    let joined = |text: &str| text.replace(|c: char| c.is_whitespace() || "_-".contains(c), "");
    let text = joined(&text);
    let unused: Vec<_> = words.iter().filter(|word| !text.contains(&joined(word))).collect();
    assert!(unused.is_empty(), "no source has {unused:?}");
}

/// The crate's documentation is read without the README.
#[test]
fn the_readme_and_the_crate_give_the_same_lines_for_debug_builds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).expect("a file");
    let (readme, crate_docs) = (read("README.md"), read("src/lib.rs").replace("//! ", ""));
    let block = readme.split("```toml\n").nth(2).and_then(|rest| rest.split("```").next()).expect("a second block");
    assert!(block.starts_with("[profile.dev.package.") && crate_docs.contains(block), "src/lib.rs lacks:\n{block}");
}

/// Returns the name of a heading in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(|c: char| !c.is_alphanumeric() && !" -_".contains(c), "");
    kept.trim().replace(' ', "-")
}

/// Whether `page` has a heading that links name `name`.
fn has_heading(page: &str, name: &str) -> bool {
    page.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line.trim_start_matches('#')) == name)
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for (name, page) in pages() {
        let folder = root.join(&name).parent().expect("a page is in a folder").to_owned();
        let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let there = if file.is_empty() { Some(page.clone()) } else { fs::read_to_string(folder.join(file)).ok() };
            if there.is_none_or(|page| !heading.is_empty() && !has_heading(&page, heading)) {
                broken.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "links to nothing:\n{}", broken.join("\n"));
}

/// The folders of files that a page names: the project's root, or one of these.
const ROOTS: &[&str] = &["", "src", "shaders", "src/bin/gatewave"];

/// The beginnings of this project's file names, which distinguish them from a user's files.
const OURS: &[&str] = &[
    "src/",
    "shaders/",
    "tests/",
    "docs/",
    "scripts/",
    "bench/",
    "benches/",
    "examples/",
    "models/",
    "fuzz/",
    "part/",
];

#[test]
fn every_file_that_a_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_there = |file: &str| ROOTS.iter().any(|folder| root.join(folder).join(file).exists());
    let mut missing = Vec::new();
    for (name, page) in pages() {
        for (line, paragraph) in (1..).zip(page.lines()) {
            let code = paragraph.split('`').skip(1).step_by(2).filter(|code| !code.contains([' ', '…']));
            let named = code.filter(|code| OURS.iter().any(|start| code.starts_with(start)));
            missing.extend(named.filter(|file| !is_there(file)).map(|file| format!("{name}, line {line}: {file}")));
        }
    }
    assert!(missing.is_empty(), "no such files:\n{}", missing.join("\n"));
}

#[test]
fn what_is_long_or_odd_is_found() {
    let long = format!("Short one. A {}end.\n", "word ".repeat(24));
    assert_eq!(long_sentences("p", &long).len(), 1);
    assert_eq!(long_sentences("p", &format!("A {}end.\n", "word ".repeat(23))).len(), 0);
    // Code is one word, and tables and blocks are no prose.
    assert_eq!(long_sentences("p", &format!("A `{}` end.\n", "word ".repeat(40))).len(), 0);
    assert_eq!(long_sentences("p", &format!("| {} |\n", "word ".repeat(40))).len(), 0);
    assert_eq!(long_sentences("p", &format!("```text\n{}\n```\n", "word ".repeat(40))).len(), 0);
    // Items of a list are separate paragraphs, and lines of a paragraph are not.
    let half = "word ".repeat(14);
    assert_eq!(long_sentences("p", &format!("- {half}\n- {half}\n")).len(), 0);
    assert_eq!(long_sentences("p", &format!("{half}\n{half}\n")).len(), 1);
    let wide = "w".repeat(121);
    assert_eq!(long_lines("p", &format!("{wide}\n| {wide}\n```console\n{wide}\n```\n")).len(), 1);
    assert_eq!(long_lines("p", &format!("```sh\n{wide}\n```\n<!-- a: begin -->\n{wide}\n<!-- a: end -->\n")).len(), 1);
    assert_eq!(phrases("p", "It waits in\nvain.\n").len(), 1);
    assert_eq!(phrases("p", "`in vain` is a phrase.\n").len(), 0);
    let source = "//! Waits in vain.\nlet vain = 1; // in vain\n    /// Begins\n    /// anew.\n";
    assert_eq!(phrases("p", &doc_comments(source)).len(), 2);
    assert!(has_heading("# A\n## What `x` is: one, two\n", "what-x-is-one-two") && !has_heading("# A\n", "b"));
    assert_eq!(plain("see [the page](a/b.md) and `x y`"), "see the page and code");
    let page = "## Glossary\n\n| word | meaning |\n| --- | --- |\n| plan | A call. |\n| live, dead | Steps. |\n\n## More\n\n| a |\n";
    assert_eq!(glossary(page), ["plan", "live", "dead"]);
}
