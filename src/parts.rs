//! Graphs in parts: engines for the recurrent parts of an ONNX file, and another runtime for all others.
//!
//! `formats` cuts a graph. Here its parts are made ready, and run one after the other. `parts/foreign.rs` is the only
//! file that knows the other runtime. Knows engines as a user does.

#[cfg(feature = "foreign")]
mod foreign;
#[cfg(not(feature = "foreign"))]
#[path = "parts/absent.rs"]
mod foreign;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use self::foreign::{Host, Runtime};
use crate::engine::{Engine, EngineBuilder};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{Axis, Element, Entry, PartKind, Reader};
pub use crate::formats::{Cut, Part};
use crate::named::{NamedTensors, Values};
use crate::table::{CONDENSED, Table};

/// A graph of ONNX in parts, ready to run: its recurrent parts on a device, and all others by another runtime on the
/// host.
///
/// So a network with a recurrent core runs, whatever stands around the core: convolutions over images, heads that
/// detect, or arithmetic that no layer here does. What [`Engine::open`] reads needs no parts.
///
/// The other runtime is behind the feature `foreign`. Without it, a graph that needs it is an error.
///
/// # Example
///
/// ```no_run
/// use gatewave::NamedTensors;
/// use gatewave::parts::Parts;
/// use ndarray::Array4;
///
/// # fn main() -> gatewave::Result<()> {
/// let parts = Parts::open("captcha.onnx")?;
/// let mut tensors = NamedTensors::new();
/// tensors.insert("image".into(), Array4::<f32>::zeros((1, 1, 64, 160)).into());
/// for (name, values) in parts.run(&tensors)? {
///     println!("{name} {:?}", values.shape());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Parts {
    steps: Vec<Step>,
    inputs: Vec<Entry>,
    outputs: Vec<String>,
}

/// A part that is ready to run.
struct Step {
    takes: Vec<String>,
    gives: Vec<String>,
    ends: String,
    runner: Runner,
}

enum Runner {
    Own(Box<Engine>),
    Foreign(Box<Runtime>),
}

impl Parts {
    /// Cuts the graph of an ONNX file, and makes its parts ready, on the best device.
    ///
    /// # Errors
    ///
    /// As [`Reader::cut`] and [`new`](Self::new).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::new(Reader::new().cut(path)?, &Engine::builder()).map_err(|e| e.at(path.display()))
    }

    /// Makes the parts of a graph ready. `options` are those of its engines.
    ///
    /// # Errors
    ///
    /// As [`EngineBuilder::load`]. Returns an error of kind [`ErrorKind::Model`] if the other runtime does not have an
    /// operator either, or is not part of this build.
    pub fn new(cut: Cut, options: &EngineBuilder) -> Result<Self> {
        let Cut { parts, inputs, outputs, .. } = cut;
        // What another runtime refuses is told before a device is opened.
        let host = Host::new();
        let mut loaded = Vec::with_capacity(parts.len());
        for part in parts {
            let ends = part.ends();
            let Part { takes, gives, operators, kind, .. } = part;
            let kind = match kind {
                PartKind::Own(own) => Err(own),
                PartKind::Foreign(foreign) => {
                    Ok(Runtime::load(foreign, &operators, &host).map_err(|e| e.at(format!("the part {ends}")))?)
                }
            };
            loaded.push((takes, gives, ends, kind));
        }
        let mut steps = Vec::with_capacity(loaded.len());
        for (mut takes, gives, ends, kind) in loaded {
            let runner = match kind {
                Ok(runtime) => Runner::Foreign(Box::new(runtime)),
                Err(own) => {
                    let engine = options.clone().load(own.model, &own.tensors)?;
                    let ports = engine.model().all_ports().into_owned();
                    takes.retain(|name| ports.inputs.iter().any(|port| port.name == *name));
                    Runner::Own(Box::new(engine))
                }
            };
            steps.push(Step { takes, gives, ends, runner });
        }
        Ok(Self { steps, inputs, outputs })
    }

    /// Returns the engines of the recurrent parts.
    pub fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.steps.iter().filter_map(|step| match &step.runner {
            Runner::Own(engine) => Some(&**engine),
            Runner::Foreign(_) => None,
        })
    }

    /// Returns the names of the graph's outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(String::as_str)
    }

    /// Runs the graph on `tensors`, by the names and axes of the graph. Returns its outputs in their order.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`] if a tensor is missing or unknown, or does not have the type or the
    /// axes that the graph says, or if its sizes do not fit an operator. Else as [`Engine::run_named`].
    pub fn run(&self, tensors: &NamedTensors) -> Result<Vec<(String, Values)>> {
        self.check(tensors)?;
        let mut held = NamedTensors::new();
        for (at, step) in self.steps.iter().enumerate() {
            let given = match &step.runner {
                Runner::Own(engine) => run_own(engine, step, tensors, &mut held),
                Runner::Foreign(runtime) => {
                    let found = |name: &String| held.get(name).or_else(|| tensors.get(name)).ok_or_else(|| lost(name));
                    let taken = step.takes.iter().map(found).collect::<Result<Vec<_>>>();
                    taken.and_then(|taken| runtime.run(&step.takes, &taken))
                }
            };
            let given = given.map_err(|e| e.at(format!("the part {}", step.ends)))?;
            held.extend(step.gives.iter().cloned().zip(given));
            let later = &self.steps[at + 1..];
            held.retain(|name, _| self.outputs.contains(name) || later.iter().any(|step| step.takes.contains(name)));
        }
        let output = |name: &String| match held.get(name).or_else(|| tensors.get(name)) {
            Some(values) => Ok((name.clone(), values.clone())),
            None => Err(lost(name)),
        };
        let mut seen = HashSet::new();
        if self.outputs.iter().all(|name| seen.insert(name) && held.contains_key(name)) {
            return Ok(self.outputs.iter().filter_map(|name| held.remove_entry(name)).collect());
        }
        // The graph gives a tensor twice, or one of its inputs.
        self.outputs.iter().map(output).collect()
    }

    /// Checks the tensors of a call against the inputs of the graph.
    fn check(&self, tensors: &NamedTensors) -> Result<()> {
        let shape = |text: String| Err(Error::new(ErrorKind::Shape, text));
        let names = || self.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>();
        if let Some(unknown) = tensors.keys().find(|name| self.inputs.iter().all(|input| input.name != **name)) {
            return shape(format!("{unknown}: expected one of {:?}", names()));
        }
        for Entry { name, element, axes } in &self.inputs {
            let Some(values) = tensors.get(name) else {
                return shape(format!("{name}: expected a tensor under this name, got none"));
            };
            match (element, values) {
                (Some(Element::Real), Values::I64(got)) => {
                    return shape(format!("{name}: expected floats, got integers {:?}", got.shape()));
                }
                (Some(Element::Whole), Values::F32(got)) => {
                    return shape(format!("{name}: expected integers, got floats {:?}", got.shape()));
                }
                _ => {}
            }
            let Some(axes) = axes else { continue };
            let got = values.shape();
            let fits = |(axis, &got): (&Axis, &usize)| !matches!(axis, Axis::Length(n) if *n != got);
            if axes.len() != got.len() || !axes.iter().zip(got).all(fits) {
                let wanted: Vec<String> = axes.iter().map(ToString::to_string).collect();
                return shape(format!("{name}: expected [{}], got {got:?}", wanted.join(", ")));
            }
        }
        Ok(())
    }
}

/// Runs `engine` on what it takes: tensors of the caller, and those that parts before it gave.
fn run_own(engine: &Engine, step: &Step, tensors: &NamedTensors, held: &mut NamedTensors) -> Result<Vec<Values>> {
    let mut given = NamedTensors::new();
    for name in &step.takes {
        let (name, values) = match held.remove_entry(name) {
            Some(entry) => entry,
            None => (name.clone(), tensors.get(name).ok_or_else(|| lost(name))?.clone()),
        };
        given.insert(name, values);
    }
    let results = engine.run_named(&given)?;
    // Later parts may take them too.
    held.extend(given.into_iter().filter(|(name, _)| !tensors.contains_key(name)));
    let mut results: HashMap<String, Values> = results.into_iter().collect();
    step.gives.iter().map(|name| results.remove(name).ok_or_else(|| lost(name))).collect()
}

fn lost(name: &str) -> Error {
    Error::internal(format_args!("no part of the graph gave {name:?}"))
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends: Vec<&str> = self.steps.iter().map(|step| step.ends.as_str()).collect();
        f.debug_struct("Parts").field("steps", &ends).finish_non_exhaustive()
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(n) => write!(f, "{n}"),
            Self::Named(name) => f.write_str(name),
            Self::Any => f.write_str("any"),
        }
    }
}

/// A table of the parts.
impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The operators that a row names.
        const SHOWN: usize = 3;
        let row = |(index, part): (usize, &Part)| {
            let one = |(op, n): &(String, usize)| if *n == 1 { op.clone() } else { format!("{n} {op}") };
            let runner = if part.is_foreign() { foreign::NAME } else { "gatewave" };
            let operators = crate::error::some_of(part.operators().iter().map(one), SHOWN);
            vec![index.to_string(), runner.to_owned(), part.nodes().to_string(), operators, part.ends()]
        };
        let rows = self.parts().iter().enumerate().map(row).collect();
        let header = &["part", "runs by", "nodes", "operators", "tensors"];
        let table = Table { style: &CONDENSED, header, rows, right: 2..3 };
        write!(f, "{table}")
    }
}
