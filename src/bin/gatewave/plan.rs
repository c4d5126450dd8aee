//! `gatewave plan`: what would run for a call of a given shape, before anything does.

use std::io::Write;

use gatewave::plan::{Goal, Shape, SlotKind};
use gatewave::{Error, ErrorKind, Mask, Options, Planner};

use crate::args::{DeviceArgs, MaybeModelArgs, Precision, Walk, note_device};
use crate::shapes::StackArgs;
use crate::{Outcome, Verdict, note};

/// Prints the dispatches, sizes and memory of a call, before anything runs
///
/// Of a model with an encoder both plans are printed, the encoder's first.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: MaybeModelArgs,
    #[command(flatten)]
    stack: StackArgs,
    /// Sequences of the call
    #[arg(short, long, value_name = "B", allow_negative_numbers = true)]
    batch: usize,
    /// Timesteps of the call
    #[arg(short = 't', long, value_name = "T", allow_negative_numbers = true)]
    steps: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// Each step draws a token for the next, as `generate` does
    #[arg(long, conflicts_with = "strategy")]
    draw: bool,
    /// Timesteps of the encoder's input [default: those of the call]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    encoder_steps: Option<usize>,
    /// How weights are stored
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// How recurrent layers go through time, wherever they can
    #[arg(long, value_enum, default_value = "auto")]
    strategy: Walk,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let device = args.device.device()?;
    let model = match (args.model.read()?, args.stack.work(args.steps, args.batch)) {
        (Some((model, _)), None) => model,
        (None, Some(work)) => work.model()?,
        (Some(_), Some(_)) => return Err(one_of("got both").into()),
        (None, None) => return Err(one_of("got neither").into()),
    };
    // Without weights: a plan may be asked for before there is memory for them.
    let options = Options::default().device(device).precision(args.precision.into()).strategy(args.strategy);
    let planner = Planner::new(model, &options)?;
    note_device(planner.device());
    if args.encoder_steps.is_some() && planner.encoder().is_none() {
        return Err(Error::new(ErrorKind::Model, "--encoder-steps: expected a model with an encoder, got none").into());
    }
    if args.draw && planner.encoder().is_some() {
        return Err(
            Error::new(ErrorKind::Model, "--draw: expected a model of one sequence, got one with an encoder").into()
        );
    }
    print(&planner, args, args.steps, out)?;
    Ok(Verdict::Done)
}

/// The plan of a call of `steps` steps; before it that of the encoder, if there is one.
fn print(planner: &Planner, args: &Args, steps: usize, out: &mut impl Write) -> Outcome<()> {
    if let Some(encoder) = planner.encoder() {
        writeln!(out, "encoder:")?;
        print(encoder, args, args.encoder_steps.unwrap_or(steps), out)?;
        writeln!(out, "\ndecoder:")?;
    }
    let goal = if args.draw { Goal::Tokens } else { Goal::Outputs };
    let plan = planner.plan_to(goal, Shape { time: steps, batch: args.batch, mask: Mask::All })?;
    if plan.shape.batch < args.batch {
        note(format_args!("the batch runs in tiles of {} rows; this is the plan of one", plan.shape.batch));
    }
    writeln!(out, "{}", plan.to_string().trim_end())?;
    writeln!(out)?;
    for (name, bytes) in [("params", plan.params_bytes()), ("staging", plan.staging_bytes())] {
        writeln!(out, "{name:<12}{bytes:>14} bytes")?;
    }
    writeln!(out, "{:<12}{:>14}", "dispatches", plan.steps.len())?;
    for (name, bytes) in [
        ("weights", plan.bytes(|kind| matches!(kind, SlotKind::Weights(_)))),
        ("input", plan.bytes(|kind| matches!(kind, SlotKind::Input | SlotKind::Index))),
        ("output", plan.bytes(|kind| kind == SlotKind::Output)),
        ("scratch", plan.bytes(|kind| kind == SlotKind::Scratch)),
    ] {
        writeln!(out, "{name:<12}{bytes:>14} bytes")?;
    }
    Ok(())
}

fn one_of(got: &str) -> Error {
    Error::new(ErrorKind::Model, format!("plan: expected MODEL or --cell with its sizes, {got}"))
}
