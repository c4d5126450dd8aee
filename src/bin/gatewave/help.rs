//! What `--help` prints besides the arguments: examples of each subcommand, and the environment.
//!
//! The examples run at the root of the project, one after the other: `tests/cli/help.rs` runs them.

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};

use crate::Cli;

/// How the environment affects all subcommands.
const ENVIRONMENT: &str = "\
Environment:
  GATEWAVE_ADAPTER   the default of --device
  RAYON_NUM_THREADS  the number of threads on the CPU [default: one for each
                     processor]
  RUST_LOG           what is logged [default: error,gatewave=warn];
                     gatewave=info adds which adapter was chosen and why, and
                     gatewave=debug each kernel that is compiled

Exit status: 0 success; 1 a comparison found a difference, or the device was
lost; 2 arguments or files cannot be used; 130 training was interrupted, and its
progress is saved.";

/// Examples of each subcommand: what each does, and the command.
const EXAMPLES: [(&str, &[(&str, &str)]); 14] = [
    (
        "run",
        &[
            (
                "Print the first numbers of each output",
                "gatewave run models/shakespeare/shakespeare.safetensors --input models/shakespeare/passages.safetensors",
            ),
            (
                "Write all of them to a file for NumPy, on any GPU or the CPU",
                "gatewave run models/shakespeare/shakespeare.safetensors --input models/shakespeare/passages.safetensors --output out.npz",
            ),
        ],
    ),
    (
        "generate",
        &[(
            "Write 60 characters after a prompt",
            "gatewave generate models/shakespeare/shakespeare.safetensors --prompt \"ROMEO:\" --length 60 --seed 1",
        )],
    ),
    (
        "describe",
        &[(
            "List the tensors of a file, and write a description of its model",
            "gatewave describe models/shakespeare/shakespeare.safetensors --output model.json",
        )],
    ),
    ("summary", &[("Print the layers of a description", "gatewave summary examples/models/embedding.json")]),
    (
        "plan",
        &[
            (
                "Print what runs for a call of a model",
                "gatewave plan models/shakespeare/shakespeare.safetensors --batch 4 --steps 3",
            ),
            (
                "Print the shader of the first dispatch of a layer",
                "gatewave plan --cell gru --input-size 40 --hidden-size 128 --wgsl 0",
            ),
        ],
    ),
    (
        "convert",
        &[(
            "Write a model with its weights in 16 bits",
            "gatewave convert models/shakespeare/shakespeare.safetensors half.safetensors --precision f16",
        )],
    ),
    ("adapters", &[("Print each adapter as a JSON object", "gatewave adapters --json")]),
    (
        "verify",
        &[(
            "Compare a model on the CPU with the textbook's equations in 64-bit floats",
            "gatewave verify models/shakespeare/shakespeare.safetensors --device cpu",
        )],
    ),
    (
        "bench",
        &[
            (
                "Time a model of a file",
                "gatewave bench models/shakespeare/shakespeare.safetensors --input models/shakespeare/passages.safetensors --runs 3",
            ),
            ("Time a layer", "gatewave bench --cell lstm --input-size 16 --hidden-size 32 --steps 20 --runs 3"),
            (
                "Draw how its time grows with the steps",
                "gatewave bench --cell lstm --input-size 16 --hidden-size 32 --sweep T=5..40 --runs 3 --plot sweep.svg",
            ),
        ],
    ),
    (
        "gradients",
        &[(
            "Print the norm of each gradient, and write those of each step to a file",
            "gatewave gradients examples/models/long.json --data examples/long.safetensors --loss cross_entropy --by-step norms.csv",
        )],
    ),
    (
        "train",
        &[
            (
                "Train on labelled text, and keep the run in a folder",
                "gatewave train examples/models/embedding.json --data examples/reviews.tsv --validation-split 0.2 --epochs 2 --run reviews",
            ),
            ("Continue that run", "gatewave train --resume reviews --epochs 3"),
            (
                "Train on a time series, and write the model to a file",
                "gatewave train examples/models/forecast.json --data examples/sunspots.csv --window 22 --columns sunspots --epochs 2 --output sunspots.safetensors",
            ),
        ],
    ),
    (
        "evaluate",
        &[(
            "Measure the best model of a run",
            "gatewave evaluate reviews/best.safetensors --data examples/reviews.tsv",
        )],
    ),
    (
        "data",
        &[
            ("Summarise labelled text", "gatewave data examples/reviews.tsv"),
            ("Summarise a time series", "gatewave data examples/sunspots.csv --window 22 --columns sunspots"),
        ],
    ),
    ("completions", &[("Print the script for bash", "gatewave completions bash")]),
];

/// Returns the command line, as it is parsed and as `--help` shows it.
pub(crate) fn command() -> Command {
    let mut command = plain(Cli::command()).after_help(ENVIRONMENT);
    for (name, examples) in EXAMPLES {
        command = command.mut_subcommand(name, |subcommand| subcommand.after_long_help(text(examples)));
    }
    command
}

fn text(examples: &[(&str, &str)]) -> String {
    let each = examples.iter().map(|(what, command)| format!("  {what}:\n    {command}\n"));
    format!("Examples:\n{}", each.collect::<String>().trim_end())
}

/// The columns of a text, and of the text of an argument, which is indented.
const COLUMNS: [usize; 2] = [80, 70];

/// Removes the backticks that our comments have around code, since a terminal would show them, and breaks long lines.
fn plain(mut command: Command) -> Command {
    let without = |text: Option<&StyledStr>| text.map(|text| text.to_string().replace('`', ""));
    let (about, long) = (without(command.get_about()), without(command.get_long_about()));
    if let Some(about) = about {
        command = command.about(about);
    }
    if let Some(long) = long {
        command = command.long_about(broken(&long, COLUMNS[0]));
    }
    command = command.mut_args(|arg| {
        let (help, long) = (without(arg.get_help()), without(arg.get_long_help()));
        let arg = if let Some(help) = help { arg.help(broken(&help, COLUMNS[1])) } else { arg };
        if let Some(long) = long { arg.long_help(broken(&long, COLUMNS[1])) } else { arg }
    });
    command.mut_subcommands(plain)
}

/// Breaks each line of `text` between words, so that it has at most `columns` columns.
fn broken(text: &str, columns: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        lines.push(String::new());
        for word in line.split(' ') {
            let last = lines.last_mut().expect("a line was just added");
            if last.is_empty() {
                last.push_str(word);
            } else if last.chars().count() + 1 + word.chars().count() <= columns {
                last.push(' ');
                last.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
    }
    lines.join("\n")
}
