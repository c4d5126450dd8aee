//! `gatewave run` on a graph in parts: the recurrent ones on the device, and all others by another runtime on the host.

use std::io::Write;

use gatewave::parts::{Cut, Part, Parts};
use gatewave::{Device, Engine, NamedTensors, Result};

use super::compare::{Reference, take_reference};
use super::models::take_numbers;
use super::{Args, all_but_one, give, warn_of_not_finite};
use crate::args::note_device;
use crate::files;
use crate::messages::note;
use crate::progress;
use crate::tensors::{self, Destination};
use crate::{Outcome, Verdict};

/// Runs the graph on each of the inputs, for `numbers` of those that decide what it computes.
pub(super) fn run(
    args: &Args,
    (cut, numbers): (Cut, &[(String, f64)]),
    device: Device,
    destinations: Vec<Destination>,
    out: &mut impl Write,
) -> Outcome {
    let unnamed = cut.inputs().next().unwrap_or("x").to_owned();
    let inputs: Vec<String> = cut.inputs().map(str::to_owned).collect();
    let outputs: Vec<String> =
        cut.outputs().filter(|name| !inputs.iter().any(|input| input == name)).map(str::to_owned).collect();
    let read = |path| -> Result<(NamedTensors, Reference)> {
        let mut given = tensors::read(path, &unnamed)?;
        take_numbers(numbers, &mut given).map_err(|e| e.at(files::name(path)))?;
        let reference =
            take_reference(&outputs, &mut given, args.compare.is_some()).map_err(|e| e.at(files::name(path)))?;
        warn_of_not_finite(path, &given);
        Ok((given, reference))
    };
    let calls = args.input.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let options = Engine::builder().device(device).precision(args.precision).progress(progress::shown());
    let notes: Vec<String> = cut.parts().iter().enumerate().filter(|(_, part)| part.is_foreign()).map(said).collect();
    let parts = Parts::new(cut, &options).map_err(|e| e.at(files::name(args.model.file())))?;
    notes.into_iter().for_each(note);
    if let Some(engine) = parts.engines().next() {
        note_device(engine.device());
    }
    let mut verdict = Verdict::Done;
    let mut destinations = destinations.into_iter();
    for (path, (given, reference)) in args.input.iter().zip(&calls) {
        let results = parts.run(given).map_err(|e| e.at(files::name(path)))?;
        if !give(args, (path, &results), all_but_one(&results), reference, destinations.next(), out)? {
            verdict = Verdict::Different;
        }
    }
    Ok(verdict)
}

/// Says that another runtime runs a part.
fn said((index, part): (usize, &Part)) -> String {
    let (count, takes, gives) = (part.nodes(), part.takes().join(", "), part.gives().join(", "));
    let nodes = if count == 1 { "node" } else { "nodes" };
    format!("part {index}, {count} {nodes} from {takes} to {gives}: no layers here, run by rten on the host")
}
