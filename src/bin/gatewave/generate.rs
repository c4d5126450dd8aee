//! `gatewave generate`: a character model writes on, one character at a time, its states where the engine computes.
//!
//! Owns the sampling; all numbers of the model come from a stream of the engine.

use std::io::{self, IsTerminal, Write};

use gatewave::{Activation, Direction, Error, ErrorKind, Flow, LayerKind, Model, Result, Results, Streams};
use ndarray::ArrayView2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::args::{DeviceArgs, ModelArgs, Precision};
use crate::{Outcome, Verdict};

/// Lets a character model continue a text
///
/// Needs a model with a vocabulary. Prints the prompt and what follows. Characters are drawn with `ChaCha8`
/// seeded by --seed (`seed_from_u64` of `rand_chacha` 0.10), one 53-bit number a character: the same seed gives the same
/// text.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The text to go on from
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    /// How many characters to write
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200, allow_negative_numbers = true)]
    length: usize,
    /// How freely to choose: 0 always takes the likeliest, 1 draws as the model says
    #[arg(short, long, value_name = "X", default_value_t = 0.8, value_parser = temperature, allow_negative_numbers = true)]
    temperature: f64,
    /// The seed of the draws
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
    /// How weights are stored
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
}

fn temperature(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err("expected a number, 0 or more".to_owned()),
    }
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let device = args.device.device()?;
    let (model, tensors) = args.model.read()?;
    let vocabulary = vocabulary(&model)?;
    let scores = Scores::of(&model)?;
    let prompt = tokens(&args.prompt, &vocabulary)?;
    let engine = args.model.engine(model, &tensors, device, args.precision)?;
    let mut sampler = Sampler { temperature: args.temperature, rng: ChaCha8Rng::seed_from_u64(args.seed) };

    write!(out, "{}", args.prompt)?;
    out.flush()?;
    let mut streams = Streams::new(&engine, 1)?;
    let text = streams.join();
    let prompt: Vec<_> = prompt.into_iter().map(|token| (text, token)).collect();
    let mut result = streams.push_tokens(&prompt, Results::Wanted)?;
    for left in (0..args.length).rev() {
        let token = sampler.draw(&scores.last(result)?);
        write!(out, "{}", vocabulary[token])?;
        out.flush()?;
        if left > 0 {
            let token = i64::try_from(token).expect("a vocabulary is shorter than 2^63");
            result = streams.push_tokens(&[(text, token)], Results::Wanted)?;
        }
    }
    if io::stdout().is_terminal() {
        writeln!(out)?;
    }
    Ok(Verdict::Done)
}

/// The characters of `model`, one for each number of its output.
fn vocabulary(model: &Model) -> Result<Vec<char>> {
    let unfit = |what: &str| Err(Error::new(ErrorKind::Model, what));
    let Some(vocabulary) = &model.vocabulary else {
        return unfit("vocabulary: expected a character model, got a description without a vocabulary");
    };
    if model.input()?.tokens().is_none() {
        return unfit("layer 0: expected an embedding or one_hot first, to take characters");
    }
    if model.encoder.is_some() {
        return unfit("encoder: expected a model of one text, got one with another input beside it");
    }
    if let Some(stack) = model.stacks().find(|stack| stack.direction != Direction::Forward) {
        let direction = match stack.direction {
            Direction::Both => "bidirectional",
            Direction::Reverse => "reverse",
            _ => "backwards",
        };
        return unfit(&format!("{direction}: a model that reads a text from its end cannot continue it"));
    }
    match model.flows()?.last() {
        Some(Flow::Steps(features) | Flow::Rows(features)) if features.len() == vocabulary.len() => {
            Ok(vocabulary.clone())
        }
        other => Err(Error::new(
            ErrorKind::Model,
            format!(
                "the output: expected {} features, one for each character, got {}",
                vocabulary.len(),
                other.map_or_else(|| "nothing".to_owned(), ToString::to_string)
            ),
        )),
    }
}

fn tokens(prompt: &str, vocabulary: &[char]) -> Result<Vec<i64>> {
    if prompt.is_empty() {
        return Err(Error::new(ErrorKind::Shape, "--prompt: expected at least one character, got none"));
    }
    let token = |character| {
        let index = vocabulary.iter().position(|known| *known == character).ok_or_else(|| {
            let known: String = vocabulary.iter().collect();
            Error::new(
                ErrorKind::Shape,
                format!("--prompt: character {character:?} is not in the model's vocabulary {known:?}"),
            )
        })?;
        Ok(i64::try_from(index).expect("a vocabulary is shorter than 2^63"))
    };
    prompt.chars().map(token).collect()
}

/// What the numbers of a model's output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scores {
    /// Logits, or logarithms of probabilities: they differ by a constant that a softmax takes away.
    Logits,
    /// Probabilities.
    Probabilities,
}

impl Scores {
    fn of(model: &Model) -> Result<Self> {
        let last = model.layers.iter().rev().find_map(|layer| match &layer.kind {
            LayerKind::Activation(activation) => Some(*activation),
            LayerKind::Linear(linear) => Some(linear.activation),
            LayerKind::Select(_) | LayerKind::Dropout(_) => None,
            _ => Some(Activation::Linear),
        });
        match last.unwrap_or(Activation::Linear) {
            Activation::Linear | Activation::LogSoftmax => Ok(Self::Logits),
            Activation::Softmax => Ok(Self::Probabilities),
            other => Err(Error::new(
                ErrorKind::Model,
                format!("the output: expected linear, softmax or log_softmax, got {}", other.name()),
            )),
        }
    }

    /// The logits of the last step, of which there is one at least.
    fn last(self, steps: ArrayView2<'_, f32>) -> Result<Vec<f64>> {
        let last = steps.row(steps.nrows() - 1);
        let scores = last.iter().map(|score| f64::from(*score));
        let logits: Vec<f64> = match self {
            Self::Logits => scores.collect(),
            Self::Probabilities => scores.map(f64::ln).collect(),
        };
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::new(
                ErrorKind::Weights,
                "the output: expected numbers, got NaN; are the weights sound?",
            ));
        }
        Ok(logits)
    }
}

/// Chooses characters.
struct Sampler {
    temperature: f64,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// The index of the likeliest logit at temperature 0, the first of equals; else one drawn from their softmax.
    fn draw(&mut self, logits: &[f64]) -> usize {
        let (likeliest, highest) = logits
            .iter()
            .copied()
            .enumerate()
            .fold((0, f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best });
        if self.temperature == 0.0 {
            return likeliest;
        }
        // Less the highest, so that the largest weight is 1 and nothing overflows.
        let weights: Vec<f64> = logits.iter().map(|logit| ((logit - highest) / self.temperature).exp()).collect();
        let mut left = self.uniform() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        likeliest
    }

    /// A multiple of 2⁻⁵³ in [0, 1).
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use gatewave::{Embedding, Linear, Lstm};

    use super::*;

    fn sampler(temperature: f64) -> Sampler {
        Sampler { temperature, rng: ChaCha8Rng::seed_from_u64(7) }
    }

    #[test]
    fn temperature_one_draws_as_often_as_the_softmax_says() {
        let probabilities = [0.5_f64, 0.2, 0.3, 0.0];
        let logits: Vec<f64> = probabilities.iter().map(|p| p.ln() + 4.0).collect();
        let mut counts = [0_u32; 4];
        let mut sampler = sampler(1.0);
        for _ in 0..20_000 {
            counts[sampler.draw(&logits)] += 1;
        }
        for (count, probability) in counts.iter().zip(probabilities) {
            let share = f64::from(*count) / 20_000.0;
            // Five standard deviations of a binomial at p = 1/2.
            assert!((share - probability).abs() < 5.0 * 0.0036, "{counts:?}");
        }
    }

    #[test]
    fn temperature_zero_takes_the_likeliest_and_the_first_of_equals() {
        assert_eq!(sampler(0.0).draw(&[-1.0, 3.0, 2.0, 3.0]), 1);
    }

    #[test]
    fn a_low_temperature_nearly_always_takes_the_likeliest() {
        let mut sampler = sampler(1e-3);
        assert!((0..1000).all(|_| sampler.draw(&[0.0, 0.1, -5.0]) == 1));
    }

    #[test]
    fn the_last_activation_tells_what_the_output_is() {
        let model = |activation| {
            Model::new()
                .layer(Embedding::new(4, 3))
                .layer(Lstm::new(3, 5))
                .layer(Linear::new(5, 4).activation(activation))
        };
        assert_eq!(Scores::of(&model(Activation::Linear)).unwrap(), Scores::Logits);
        assert_eq!(Scores::of(&model(Activation::LogSoftmax)).unwrap(), Scores::Logits);
        assert_eq!(Scores::of(&model(Activation::Softmax)).unwrap(), Scores::Probabilities);
        let apart = model(Activation::Linear).layer(Activation::Softmax);
        assert_eq!(Scores::of(&apart).unwrap(), Scores::Probabilities);
        assert!(Scores::of(&model(Activation::Relu)).is_err());
    }
}
