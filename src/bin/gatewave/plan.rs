//! `gatewave plan`: what would run for a call of a given shape, before anything does.

use std::io::Write;
use std::sync::Arc;

use gatewave::inspect::Planner;
use gatewave::inspect::kernel::link;
use gatewave::inspect::plan::{Goal, Plan, SlotKind};
use gatewave::train::Objective;
use gatewave::{Device, Engine, Error, ErrorKind, Model, Precision, Result};

use crate::args::{DeviceArgs, MaybeModelArgs, StrategyArg, note_device, precision};
use crate::losses::{self, Said};
use crate::messages::note;
use crate::shapes::StackArgs;
use crate::{Outcome, Verdict};

/// Prints the dispatches, sizes and memory of a call, without running it
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: MaybeModelArgs,
    #[command(flatten)]
    stack: StackArgs,
    /// Sequences of the call [default: 1]
    #[arg(short, long, value_name = "B", allow_negative_numbers = true)]
    batch: Option<usize>,
    /// Timesteps of the call [default: 100]
    #[arg(short = 't', long, value_name = "T", allow_negative_numbers = true)]
    steps: Option<usize>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Draw a token in each step for the next, as `generate` does
    #[arg(long, conflicts_with = "strategy")]
    draw: bool,
    /// Plan a step of training: the loss of the call, and the gradients of the weights
    #[arg(long, requires = "loss", conflicts_with_all = ["draw", "precision"])]
    train: bool,
    /// The loss: `cross_entropy`, `binary_cross_entropy`, `mse`, `mae`
    /// or `huber`, of each output; or OUTPUT=LOSS, which may be repeated
    #[arg(long, requires = "train", value_name = "LOSS")]
    loss: Vec<Said>,
    /// Bytes that recurrent layers may keep for the backward pass; what they do not keep is computed twice
    #[arg(long, requires = "train", value_name = "N", allow_negative_numbers = true)]
    keep_bytes: Option<u64>,
    /// Timesteps of another input, if it has its own; may be given several times [default: those of the call]
    #[arg(long, value_name = "INPUT=T", value_parser = steps_of)]
    steps_of: Vec<(String, usize)>,
    /// Print the WGSL of the program of dispatch N instead, with its override constants
    #[arg(long, value_name = "N")]
    wgsl: Option<usize>,
    /// How weights are stored
    #[arg(long, value_parser = precision(), default_value_t)]
    precision: Precision,
    /// How recurrent layers go through time, wherever they can
    #[arg(long, value_enum, default_value = "auto")]
    strategy: StrategyArg,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let device = args.device.device()?;
    let described = match args.model.described() {
        Ok(described) => described,
        Err(error) if args.train => return Err(error.into()),
        Err(error) => {
            let cut = args.model.cut_instead(error)?;
            writeln!(out, "{cut}")?;
            for (index, part) in cut.parts().iter().enumerate() {
                let Some(model) = part.model() else { continue };
                writeln!(out, "\npart {index}")?;
                of_model(args, model.clone(), device.clone(), out)?;
            }
            return Ok(Verdict::Done);
        }
    };
    let model = match (described, args.stack.work(args.steps(), args.batch())) {
        (Some(model), None) => model,
        (None, Some(work)) => work.model()?,
        (Some(_), Some(_)) => return Err(one_of("got both").into()),
        (None, None) => return Err(one_of("got neither").into()),
    };
    of_model(args, model, device, out)?;
    Ok(Verdict::Done)
}

/// Prints the plan of `model`.
fn of_model(args: &Args, model: Model, device: Device, out: &mut impl Write) -> Outcome<()> {
    model.warn_of_unused();
    // Without weights: a plan may be needed before there is memory for them.
    let options = Engine::builder().device(device).precision(args.precision).strategy(args.strategy);
    let options = options.keep_bytes(args.keep_bytes);
    let objective = if args.train { Some(losses::objective(&args.loss, &model, |_| true)?) } else { None };
    let planner = match objective {
        Some(_) => Planner::for_training(model, &options)?,
        None => Planner::new(model, &options)?,
    };
    note_device(planner.device());
    if args.steps.is_none() || args.batch.is_none() {
        note(format_args!("a call of {} steps in a batch of {} (--steps, --batch)", args.steps(), args.batch()));
    }
    let plan = plan(&planner, args, objective.as_ref())?;
    match args.wgsl {
        Some(index) => print_program(&plan, index, out)?,
        None => print(&plan, args, out)?,
    }
    Ok(())
}

impl Args {
    fn steps(&self) -> usize {
        self.steps.unwrap_or(100)
    }

    fn batch(&self) -> usize {
        self.batch.unwrap_or(1)
    }
}

/// Parses `INPUT=T`.
fn steps_of(text: &str) -> std::result::Result<(String, usize), String> {
    let expected = || format!("expected INPUT=T, an input of the model and a number of steps, got {text:?}");
    let (name, steps) = text.rsplit_once('=').ok_or_else(expected)?;
    Ok((name.to_owned(), steps.parse().map_err(|_| expected())?))
}

/// Prints the plan of the call.
fn print(plan: &Plan, args: &Args, out: &mut impl Write) -> Outcome<()> {
    if plan.shape.batch < args.batch() {
        note(format_args!("the batch runs in tiles of {} rows; this is the plan of one", plan.shape.batch));
    }
    writeln!(out, "{}", plan.to_string().trim_end())?;
    writeln!(out)?;
    let kept = args.train.then(|| ("kept", plan.kept_bytes()));
    for (name, bytes) in [("params", plan.params_bytes()), ("staging", plan.staging_bytes())].into_iter().chain(kept) {
        writeln!(out, "{name:<12}{bytes:>14} bytes")?;
    }
    writeln!(out, "{:<12}{:>14}", "dispatches", plan.steps.len())?;
    for (name, bytes) in [
        ("weights", plan.bytes(|kind| matches!(kind, SlotKind::Weights(_)))),
        ("input", plan.bytes(|kind| matches!(kind, SlotKind::Input | SlotKind::Index))),
        ("output", plan.bytes(|kind| kind == SlotKind::Output)),
        ("scratch", plan.bytes(SlotKind::is_scratch)),
    ] {
        writeln!(out, "{name:<12}{bytes:>14} bytes")?;
    }
    Ok(())
}

fn plan(planner: &Planner, args: &Args, objective: Option<&Objective>) -> Result<Arc<Plan>> {
    let goal = if args.draw { Goal::Tokens(0) } else { Goal::Outputs };
    let shape = planner.shape(args.steps(), args.batch(), &args.steps_of).map_err(|e| e.at("--steps-of"))?;
    match objective {
        Some(objective) => planner.plan_gradients(objective, shape).map(Arc::new),
        None => planner.plan_to(goal, shape),
    }
}

/// Prints the linked WGSL of the program of dispatch `index`, under lines with its name and its overrides.
fn print_program(plan: &Plan, index: usize, out: &mut impl Write) -> Outcome<()> {
    let Some(dispatch) = plan.steps.get(index) else {
        let got = format!("--wgsl: expected a dispatch from 0 to {}, got {index}", plan.steps.len().saturating_sub(1));
        return Err(Error::new(ErrorKind::Shape, got).into());
    };
    let program = &plan.programs[dispatch.program];
    writeln!(out, "// dispatch {index}: {program}")?;
    for (name, value) in program.overrides() {
        writeln!(out, "// override {name} = {value}")?;
    }
    write!(out, "{}", link::source(program))?;
    Ok(())
}

fn one_of(got: &str) -> Error {
    Error::new(ErrorKind::Model, format!("plan: expected MODEL or --cell with its sizes, {got}"))
}
