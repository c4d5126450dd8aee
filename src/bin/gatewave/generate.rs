//! `gatewave generate`: a model of characters or words continues
//! a text; each of them is drawn on the device of the engine.
//!
//! Knows how they are printed; a stream decides what is drawn, and how.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use gatewave::data::{CorpusSpec, Tokenizer};
use gatewave::interface::{InputKind, ModelOutput, Pin, Value};
use gatewave::layer::{Direction, Flow, LayerKind};
use gatewave::stream::Sampling;
use gatewave::{Error, ErrorKind, Model, NamedTensors, Precision, Result, Results, Streams};

use crate::args::{DeviceArgs, ModelArgs, positive, precision};
use crate::files::{name, once};
use crate::messages::note;
use crate::{Outcome, Verdict, tensors};

/// Characters or words that are drawn before they are printed:
/// enough that a device is seldom asked, few enough to watch.
const AT_ONCE: usize = 32;

/// Continues a text with a model of characters or words
///
/// Needs a model with a vocabulary: from its description, or from a text that `gatewave train`
/// trained it on. Prints the prompt and what follows, 32 characters or words at a time, and a newline
/// if the text does not end with one. The same seed gives the same text on every device: the random
/// numbers depend only on the seed and the place in the text (Threefry-2x32-20, the Gumbel-max trick).
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text to continue
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    /// What the model takes besides the text: rows and initial states by name, in a .safetensors or .npz file
    #[arg(short, long, value_name = "IN")]
    input: Option<PathBuf>,
    /// The output that characters or words are drawn from [default: the first]
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// How many characters or words to write
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200, value_parser = whole::<usize>, allow_negative_numbers = true)]
    length: usize,
    /// How freely to choose: 0 always takes the likeliest, 1 draws by the model's own probabilities
    #[arg(short, long, value_name = "X", default_value_t = 0.8, value_parser = temperature, allow_negative_numbers = true)]
    temperature: f32,
    /// Choose only from the K likeliest characters or words [default: all]
    #[arg(long, value_name = "K", value_parser = positive, allow_negative_numbers = true)]
    top_k: Option<usize>,
    /// The seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u64>, allow_negative_numbers = true)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
    /// How weights are stored
    #[arg(long, value_parser = precision(), default_value_t)]
    precision: Precision,
}

fn temperature(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err("expected a number, 0 or more".to_owned()),
    }
}

fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "expected a whole number, 0 or more".to_owned())
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    once(args.model.files().chain(args.input.as_deref()))?;
    let device = args.device.device()?;
    let (model, tensors) = args.model.read()?;
    let spec = CorpusSpec::of_model(&model, &args.model.metadata()?);
    let spec = spec.map_err(|e| e.at(name(args.model.file())))?;
    let vocabulary = vocabulary(&model, spec, args.output.as_deref());
    let vocabulary = vocabulary.map_err(|e| e.at(name(args.model.described_by())))?;
    let (prompt, mut last) = tokens(&args.prompt, &vocabulary)?;
    let beside = beside(&model, args.input.as_deref())?;
    let engine = args.model.engine(model, &tensors, device, args.precision)?;
    let sampling = Sampling::default().temperature(args.temperature).top_k(args.top_k).seed(args.seed);

    let mut streams = Streams::new(&engine, 1)?;
    let text = streams.join();
    if let (Some(path), Some(tensors)) = (&args.input, beside) {
        streams.set_named(text, &tensors).map_err(|e| e.at(path.display()))?;
    }
    if let Some(output) = &args.output {
        streams.draw_from(output).map_err(|e| e.at("--output"))?;
    }
    write!(out, "{}", args.prompt)?;
    out.flush()?;
    let prompt: Vec<_> = prompt.into_iter().map(|token| (text, token)).collect();
    streams.push_tokens(&prompt, Results::Unwanted)?;
    let (mut left, mut ends_in_newline) = (args.length, args.prompt.ends_with('\n'));
    while left > 0 {
        let steps = left.min(AT_ONCE);
        let drawn = streams.generate(&[(text, last, sampling)], steps)?;
        let more = vocabulary.continued(&drawn.iter().copied().collect::<Vec<_>>());
        write!(out, "{more}")?;
        ends_in_newline = more.ends_with('\n');
        out.flush()?;
        (last, left) = (drawn[[0, steps - 1]], left - steps);
    }
    if !ends_in_newline {
        writeln!(out)?;
    }
    Ok(Verdict::Done)
}

/// Reads what the model takes beside the text.
fn beside(model: &Model, path: Option<&Path>) -> Result<Option<NamedTensors>> {
    match path {
        Some(path) => tensors::read(path, "x").map(Some),
        None => match model.inputs.iter().find(|input| matches!(input.kind, InputKind::Row(_))) {
            None => Ok(None),
            Some(row) => {
                let text =
                    format!("{}: expected it in a file of what goes with the text (--input), got none", row.name);
                Err(Error::new(ErrorKind::Shape, text))
            }
        },
    }
}

/// Returns the vocabulary of `model`: `spec` if it has one. It has a
/// token for each number of output `output`, or of the first output.
fn vocabulary(model: &Model, spec: Option<CorpusSpec>, output: Option<&str>) -> Result<CorpusSpec> {
    let unfit = |what: &str| Err(Error::new(ErrorKind::Model, what));
    let Some(spec) = spec else {
        return unfit(
            "vocabulary: expected a character model, got a description without a vocabulary; write the \
             characters there, in the order of the tokens, or train the model on a text (gatewave train)",
        );
    };
    let Some(tokens) = model.input()?.tokens() else {
        return unfit("layer 0: expected an embedding or one_hot first, to take characters");
    };
    let sequences = model.inputs.iter().filter(|input| !matches!(input.kind, InputKind::Row(_) | InputKind::State(_)));
    if let Some(other) = sequences.skip(1).last() {
        return unfit(&format!("{}: expected no sequence beside the text, got one", other.name));
    }
    for (index, layer) in model.layers.iter().enumerate() {
        let LayerKind::Recurrent(stack) = &layer.kind else { continue };
        let direction = match stack.direction {
            Direction::Forward => continue,
            Direction::Both => "bidirectional",
            Direction::Reverse => "reverse",
            Direction::Backwards => "backwards",
            _ => "another",
        };
        let name = layer.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        return unfit(&format!(
            "layer {index}{name}: expected a forward stack, got a {direction} one; a model that reads a text from its end \
             cannot continue it"
        ));
    }
    let flows = model.flows()?;
    let is_meant = |other: &&ModelOutput| match output {
        Some(name) => other.name == name,
        None => !matches!(other.from, Value::Layer(_, Pin::Hidden | Pin::Cell)),
    };
    let flow = match model.outputs.iter().find(is_meant).map(|output| output.from) {
        None => flows.last(),
        Some(Value::Layer(layer, Pin::Output)) => flows.get(layer),
        // It is a result of a stack: the caller that draws from it checks whether it fits.
        Some(_) => return Ok(spec),
    };
    let unit = spec.unit().singular();
    match flow {
        Some(Flow::Steps(features) | Flow::Rows(features)) if features.len() == tokens => Ok(spec),
        other => Err(Error::new(
            ErrorKind::Model,
            format!(
                "the output: expected {tokens} features, one for each {unit}, got {}",
                other.map_or_else(|| "nothing".to_owned(), ToString::to_string)
            ),
        )),
    }
}

/// Returns the tokens of a prompt: all but the last, and the last, from which the text goes on.
fn tokens(prompt: &str, vocabulary: &CorpusSpec) -> Result<(Vec<i64>, i64)> {
    let none = || Error::new(ErrorKind::Shape, "expected at least one character, got none");
    let encoded = vocabulary.encode(prompt).and_then(|mut tokens| {
        let last = tokens.pop().ok_or_else(none)?;
        Ok((tokens, last))
    });
    let (tokens, last) = encoded.map_err(|e| e.at("--prompt"))?;
    let is_unknown = |token: &&i64| vocabulary.tokenizer().is_some() && **token == Tokenizer::UNKNOWN;
    let unknown = tokens.iter().chain([&last]).filter(is_unknown).count();
    if unknown > 0 {
        note(format_args!(
            "warning: --prompt: the model's vocabulary lacks {unknown} of its {}",
            vocabulary.unit().plural()
        ));
    }
    Ok((tokens, last))
}
