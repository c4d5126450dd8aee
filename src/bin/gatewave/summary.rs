//! `gatewave summary`: the layers of a model, their outputs, and how many parameters each has.

use std::io::Write;

use gatewave::Model;
use gatewave::inspect::check_steps;

use crate::args::{ModelArgs, positive};
use crate::{Outcome, Verdict};

/// Prints a model's layers, output shapes and parameter counts
///
/// MODEL may be a description alone (.json), which has every size. Of an ONNX graph that is no model as a whole, the
/// parts are shown, and which of them another runtime runs.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The rows of a batch that the shapes show [default: those of the file, else None]
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    batch: Option<usize>,
    /// The steps that the shapes show, of each input [default: those of the file, else None]
    #[arg(long, value_name = "T", value_parser = positive, allow_negative_numbers = true)]
    steps: Option<usize>,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    match args.model.described() {
        Ok(model) => write(args, model, out)?,
        Err(error) => {
            let cut = args.model.cut_instead(error, args.model.set())?;
            writeln!(out, "{cut}")?;
            for (index, part) in cut.parts().iter().enumerate() {
                let Some(model) = part.model() else { continue };
                writeln!(out, "\npart {index}")?;
                write(args, model.clone(), out)?;
            }
        }
    }
    Ok(Verdict::Done)
}

fn write(args: &Args, mut model: Model, out: &mut impl Write) -> Outcome<()> {
    if let Some(rows) = args.batch {
        model = model.batch_size(rows);
    }
    if let Some(steps) = args.steps {
        check_steps(&model, steps).map_err(|e| e.at("--steps"))?;
        model = model.steps(steps);
    }
    writeln!(out, "{}", model.summary().to_string().trim_end())?;
    Ok(())
}
