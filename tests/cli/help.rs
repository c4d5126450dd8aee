//! `--help`, `--quiet` and `completions`: everything besides the work of the subcommands.

use crate::support::files::{arguments, copy};
use crate::{Folder, MODEL, command, gatewave, ran};

/// The subcommands, as `gatewave --help` lists them.
fn subcommands() -> Vec<String> {
    let help = gatewave(["--help"]).done();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    names.map(str::to_owned).collect()
}

#[test]
fn every_subcommand_has_examples_in_its_help_that_run() {
    let folder = Folder::new("help-examples");
    let place = folder.path("");
    copy(&["examples", "models"], &place);
    let names = subcommands();
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        let help = gatewave([&name, "--help"]).done();
        let examples = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{name} has no examples:\n{help}")).1;
        let commands: Vec<_> = examples.lines().filter_map(|line| line.trim().strip_prefix("gatewave ")).collect();
        assert!(!commands.is_empty(), "{name}: {examples}");
        for text in commands {
            let args = arguments(text);
            assert_eq!(args[0], name, "{text}");
            let ran = ran(command().args(args).current_dir(&place));
            assert_eq!(ran.status, 0, "{text}: {ran:?}");
        }
    }
}

#[test]
fn no_help_shows_a_backtick_and_the_first_one_tells_the_environment() {
    for name in subcommands().iter().map(String::as_str).chain(["--quiet"]) {
        for flag in ["-h", "--help"] {
            let help = gatewave([name, flag]).done();
            assert!(!help.contains('`') && help.contains("--quiet"), "{name} {flag}:\n{help}");
            // Commands of examples stay whole, and so do the lists of a short help.
            let text = help.split("\nExamples:\n").next().unwrap_or_default();
            let long = text.lines().find(|line| flag == "--help" && name != "--quiet" && line.chars().count() > 100);
            assert_eq!(long, None, "{name} {flag}");
        }
    }
    let help = gatewave(["--help"]).done();
    for word in ["RUST_LOG", "GATEWAVE_ADAPTER", "RAYON_NUM_THREADS", "Exit status: 0 success"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn quiet_leaves_errors_alone_on_standard_error() {
    let generate = ["generate", MODEL, "--prompt", "A", "--length", "3"];
    assert!(gatewave(generate).err.contains("device: "));
    for flags in [&["--quiet"][..], &["-q"]] {
        let ran = gatewave(generate.iter().chain(flags));
        assert_eq!((ran.err.as_str(), ran.status), ("", 0), "{ran:?}");
        assert_eq!(ran.out, gatewave(generate).out);
        // Before the subcommand too.
        assert_eq!(gatewave(flags.iter().chain(&generate)).err, "");
    }
    let error = gatewave(["generate", MODEL, "--prompt", "", "--quiet"]).refused();
    assert_eq!(error, "--prompt: expected at least one character, got none");
}

#[test]
fn each_shell_has_completions_of_every_subcommand() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = gatewave(["completions", shell]).done();
        for word in subcommands().iter().map(String::as_str).chain(["temperature"]) {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains('`') || shell == "powershell", "{shell}");
    }
    assert!(gatewave(["completions", "ksh"]).err.contains("[possible values: bash, elvish, fish, powershell, zsh]"));
}
