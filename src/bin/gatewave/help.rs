//! What `--help` prints beside the arguments: examples of each subcommand, and the environment.
//!
//! The examples run at the root of the project, one after the other: `tests/cli/help.rs` runs them.

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};

use crate::Cli;

/// How the environment affects all subcommands.
const ENVIRONMENT: &str = "\
Environment:
  GATEWAVE_ADAPTER   what --device is if it is not given
  RAYON_NUM_THREADS  threads of the CPU [default: one for each core]
  RUST_LOG           what is logged: error, warn, info or debug, of all or of gatewave alone [default:
                     error,gatewave=warn]; RUST_LOG=gatewave=info tells which adapter was chosen, and why

Exit status: 0 done, 1 something differs or failed, 2 arguments or files cannot be used, 130 a signal ended a training.";

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
            "Write 60 characters behind a prompt",
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
    ("summary", &[("The layers of a description", "gatewave summary examples/models/embedding.json")]),
    (
        "plan",
        &[
            (
                "What runs for a call of a model",
                "gatewave plan models/shakespeare/shakespeare.safetensors --batch 4 --steps 3",
            ),
            (
                "The shader of the first dispatch of a layer",
                "gatewave plan --cell gru --input-size 40 --hidden-size 128 --wgsl 0",
            ),
        ],
    ),
    (
        "convert",
        &[(
            "A model with its weights in 16 bits",
            "gatewave convert models/shakespeare/shakespeare.safetensors half.safetensors --precision f16",
        )],
    ),
    ("adapters", &[("Each adapter as a JSON object", "gatewave adapters --json")]),
    (
        "verify",
        &[(
            "Hold a model on the CPU against the textbook's equations",
            "gatewave verify models/shakespeare/shakespeare.safetensors --device cpu",
        )],
    ),
    (
        "bench",
        &[
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
            "The norm of each gradient, and of those that go back through time",
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
            ("Go on with it", "gatewave train --resume reviews --epochs 3"),
            (
                "Train on a series, and write the model to a file",
                "gatewave train examples/models/forecast.json --data examples/sunspots.csv --window 22 --columns sunspots --epochs 2 --output sunspots.safetensors",
            ),
        ],
    ),
    (
        "evaluate",
        &[("How good the model of a run is", "gatewave evaluate reviews/best.safetensors --data examples/reviews.tsv")],
    ),
    (
        "data",
        &[
            ("What labelled text holds", "gatewave data examples/reviews.tsv"),
            ("What a series holds", "gatewave data examples/sunspots.csv --window 22 --columns sunspots"),
        ],
    ),
    ("completions", &[("What bash needs", "gatewave completions bash")]),
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

/// Removes the backticks that our comments have around code, since a terminal would show them.
fn plain(mut command: Command) -> Command {
    let without = |text: Option<&StyledStr>| text.map(|text| text.to_string().replace('`', ""));
    let (about, long) = (without(command.get_about()), without(command.get_long_about()));
    if let Some(about) = about {
        command = command.about(about);
    }
    if let Some(long) = long {
        command = command.long_about(long);
    }
    command = command.mut_args(|arg| {
        let (help, long) = (without(arg.get_help()), without(arg.get_long_help()));
        let arg = if let Some(help) = help { arg.help(help) } else { arg };
        if let Some(long) = long { arg.long_help(long) } else { arg }
    });
    command.mut_subcommands(plain)
}
