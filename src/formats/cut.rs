//! A graph that is cut into parts: models, and what another runtime must run.
//!
//! Knows models and their tensors; knows no format and no runtime.

use std::fmt;

use crate::error::Result;
use crate::model::Model;
use crate::weights::Tensors;

/// A graph in parts, in an order in which they can be computed. Each takes inputs of the graph and what parts before
/// it give.
///
/// [`Reader::cut`](super::Reader::cut) cuts a file.
#[derive(Debug)]
pub struct Cut {
    pub(crate) parts: Vec<Part>,
    pub(crate) inputs: Vec<Entry>,
    pub(crate) outputs: Vec<String>,
    /// Whether a model among the parts leaves out that the graph rounds what flows.
    pub(crate) rounds: bool,
}

/// A part of a graph: a model of this crate, or nodes that another runtime must run.
#[derive(Debug)]
pub struct Part {
    pub(crate) takes: Vec<String>,
    pub(crate) gives: Vec<String>,
    pub(crate) nodes: usize,
    /// Those that compute with numbers of a call.
    pub(crate) operators: Vec<(String, usize)>,
    pub(crate) kind: PartKind,
}

#[derive(Debug)]
pub(crate) enum PartKind {
    Own(Box<Own>),
    Foreign(Foreign),
}

/// A model and its tensors.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) model: Model,
    pub(crate) tensors: Tensors,
}

/// A graph for another runtime.
pub(crate) struct Foreign {
    /// Writes it as an ONNX file.
    pub(crate) bytes: Box<dyn FnOnce() -> Result<Vec<u8>> + Send>,
    /// The name and the operator of each node.
    pub(crate) nodes: Vec<(String, String)>,
}

/// An input of a graph.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// `None` if the file does not tell it.
    pub(crate) element: Option<Element>,
    pub(crate) axes: Option<Vec<Axis>>,
}

/// What the elements of an input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Real,
    Whole,
}

/// The length of an axis of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    Length(usize),
    /// A word of the file. As in ONNX Runtime, axes of one name may differ.
    Named(String),
    Any,
}

impl Cut {
    /// Returns the parts, in the order in which they are computed.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Returns the names of the graph's inputs.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }

    /// Returns the names of the graph's outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(String::as_str)
    }
}

impl Part {
    /// Returns the names of the tensors that it takes.
    #[must_use]
    pub fn takes(&self) -> &[String] {
        &self.takes
    }

    /// Returns the names of the tensors that it gives to later parts or to the caller.
    #[must_use]
    pub fn gives(&self) -> &[String] {
        &self.gives
    }

    /// Returns the operators of its nodes, and how many nodes each has. What computes sizes or weights is not counted.
    #[must_use]
    pub fn operators(&self) -> &[(String, usize)] {
        &self.operators
    }

    /// Returns the number of its nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Returns the model that it is, unless another runtime must run it.
    #[must_use]
    pub fn model(&self) -> Option<&Model> {
        match &self.kind {
            PartKind::Own(own) => Some(&own.model),
            PartKind::Foreign(_) => None,
        }
    }

    /// Whether another runtime must run it.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.model().is_none()
    }

    /// Returns what it takes and gives, in a few words.
    pub(crate) fn ends(&self) -> String {
        format!("{} → {}", few(&self.takes), few(&self.gives))
    }
}

/// Lists the first of `names`.
fn few(names: &[String]) -> String {
    crate::error::some_of(names.iter(), 3)
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Foreign").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}
