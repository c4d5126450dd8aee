//! `--loss`: words → an objective, with one loss for each output that has targets.

use std::str::FromStr;

use gatewave::interface::OutputValue;
use gatewave::train::{Loss, Objective, Term};
use gatewave::{Error, ErrorKind, Model, Result};

/// The loss, which may follow from the data.
#[derive(clap::Args)]
pub(crate) struct LossArgs {
    /// The loss: `cross_entropy`, `binary_cross_entropy`, `mse`, `mae` or `huber`. A model
    /// of several outputs uses it for each output with targets, or OUTPUT=LOSS, which may
    /// be repeated [default: for text the cross-entropy that fits, for a time series mse]
    #[arg(long, value_name = "LOSS")]
    loss: Vec<Said>,
    /// `cross_entropy`, `binary_cross_entropy`: the share of each target that is spread over all classes
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    label_smoothing: Option<f32>,
    /// huber: the error up to which it is a square [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    huber_delta: Option<f32>,
}

/// A loss, and its output, if that is given.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    output: Option<String>,
    loss: Loss,
}

/// The setting of a loss that a flag sets, if the loss has it.
type Setting = fn(&mut Loss) -> Option<&mut f32>;

impl LossArgs {
    /// Returns the objective of `model` on tensors; `is_there` tells which names they have.
    pub(crate) fn of_tensors(&self, model: &Model, is_there: impl Fn(&str) -> bool) -> Result<Objective> {
        self.tuned(objective(&self.loss, model, |output| is_there(&targets_of(output)))?)
    }

    /// Refuses tensors without a loss.
    pub(crate) fn said(&self) -> Result<()> {
        match self.loss.is_empty() {
            true => Err(wrong(format!("expected one of {}, got none", Loss::NAMES.join(", ")))),
            false => Ok(()),
        }
    }

    /// Returns the objective of a time series, by default the mean square.
    pub(crate) fn of_series(&self) -> Result<Objective> {
        let loss = match &self.loss[..] {
            [] => Loss::MeanSquared,
            [Said { output: None, loss }] if ["mse", "mae", "huber"].contains(&loss.name()) => loss.clone(),
            [said, ..] => {
                let got = said.loss.name();
                return Err(wrong(format!("expected one of mse, mae, huber of a time series, got {got}")));
            }
        };
        self.tuned(loss.into())
    }

    /// Returns the objective of text; `fitting` is the one that fits the model.
    pub(crate) fn of_text(&self, fitting: Objective) -> Result<Objective> {
        let wanted = fitting.terms()[0].loss.name();
        match self.loss.iter().find(|said| said.loss.name() != wanted) {
            Some(said) => {
                let got = said.loss.name();
                Err(wrong(format!("expected {wanted} of text and this model, got {got}")))
            }
            None => self.tuned(fitting),
        }
    }

    /// Returns whether targets are smoothed.
    pub(crate) fn is_smoothed(&self) -> bool {
        self.label_smoothing.is_some_and(|share| share > 0.0)
    }

    /// Returns the same objective with the settings of losses that flags ask for.
    fn tuned(&self, objective: Objective) -> Result<Objective> {
        let mut terms = objective.terms().to_vec();
        let flags: [(&str, &str, Option<f32>, Setting); 2] = [
            ("--label-smoothing", "cross_entropy or binary_cross_entropy", self.label_smoothing, |loss| match loss {
                Loss::CrossEntropy(loss) => Some(&mut loss.smoothing),
                Loss::BinaryCrossEntropy(loss) => Some(&mut loss.smoothing),
                _ => None,
            }),
            ("--huber-delta", "huber", self.huber_delta, |loss| match loss {
                Loss::Huber(loss) => Some(&mut loss.delta),
                _ => None,
            }),
        ];
        for (flag, wanted, value, setting) in flags {
            let Some(value) = value else { continue };
            let mut is_said = false;
            for own in terms.iter_mut().filter_map(|term| setting(&mut term.loss)) {
                (*own, is_said) = (value, true);
            }
            if !is_said {
                let names = terms.iter().map(|term| term.loss.name()).collect::<Vec<_>>().join(", ");
                let text = format!("expected a loss of {wanted}, got {names}");
                return Err(Error::new(ErrorKind::Training, text).at(flag));
            }
        }
        Ok(Objective::of_terms(terms))
    }
}

impl FromStr for Said {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (output, word) = match text.rsplit_once('=') {
            Some((output, word)) => (Some(output.to_owned()), word),
            None => (None, text),
        };
        match Loss::of_name(word) {
            Some(loss) => Ok(Self { output, loss }),
            None => Err(format!("expected one of {}, got {word}", Loss::NAMES.join(", "))),
        }
    }
}

/// Returns the name of the targets of an output.
fn targets_of(output: &str) -> String {
    format!("y_{output}")
}

/// Returns the objective that `said` means for `model`; `has_targets` tells which outputs have targets, by name.
///
/// # Errors
///
/// Returns an error of kind `Training` if it is not clear which output a loss is for.
pub(crate) fn objective(said: &[Said], model: &Model, has_targets: impl Fn(&str) -> bool) -> Result<Objective> {
    let ports = model.all_ports();
    let outputs: Vec<(usize, &str)> = ports
        .outputs
        .iter()
        .filter_map(|port| match port.value {
            OutputValue::Output => Some((0, port.name.as_str())),
            OutputValue::Another(index) => Some((index, port.name.as_str())),
            _ => None,
        })
        .collect();
    let several = outputs.iter().any(|(index, _)| *index > 0);
    let term = |output, loss: &Loss| Term::new(output, loss.clone(), 1.0);
    let names = || outputs.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    let mut terms: Vec<Term> = Vec::new();
    match said {
        [Said { output: None, loss }] if !several => terms.push(term(0, loss)),
        [Said { output: None, loss }] => {
            for (index, _) in outputs.iter().filter(|(_, name)| has_targets(name)) {
                if terms.iter().all(|term| term.output != *index) {
                    terms.push(term(*index, loss));
                }
            }
            if terms.is_empty() {
                let names = outputs.iter().map(|(_, name)| targets_of(name)).collect::<Vec<_>>().join(" or ");
                return Err(wrong(format!("expected targets of an output ({names}), got none")));
            }
        }
        all => {
            for Said { output, loss } in all {
                let Some(name) = output else {
                    let got = loss.name();
                    return Err(wrong(format!(
                        "expected one, or OUTPUT=LOSS for each output, got {got} beside others"
                    )));
                };
                let Some((index, _)) = outputs.iter().find(|(_, known)| known == name) else {
                    return Err(wrong(format!("expected an output of the model ({}), got {name}", names())));
                };
                if terms.iter().any(|term| term.output == *index) {
                    return Err(wrong(format!("expected one loss of an output, got two of {name}")));
                }
                terms.push(term(*index, loss));
            }
        }
    }
    Ok(Objective::of_terms(terms))
}

fn wrong(text: String) -> Error {
    Error::new(ErrorKind::Training, text).at("--loss")
}
