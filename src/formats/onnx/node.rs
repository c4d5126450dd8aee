//! A node of the graph, and its attributes by name and type. An attribute that `table` does not list is never read.

use super::misfit;
use super::proto;
use super::table::{ATTRIBUTES, OF_MICROSOFT};
use crate::error::{Error, Result};
use crate::formats::support::Treatment;

/// A node.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) op: &'a str,
    pub(super) inputs: &'a [String],
    pub(super) outputs: &'a [String],
    attributes: &'a [proto::Attribute],
    name: &'a str,
    /// The version of ONNX's operators.
    pub(super) opset: i64,
}

/// The name of a node in errors.
#[derive(Debug, Default)]
pub(super) struct Called {
    place: String,
    /// Its own name, or that of its first output.
    name: String,
}

impl Called {
    /// Returns `error` with the name of the node.
    pub(super) fn error(&self, error: Error) -> Error {
        error.of_node(&self.name).at(&self.place)
    }
}

/// The most attributes of a node. No operator of ONNX has as many.
const MAX_ATTRIBUTES: usize = 32;

/// ONNX's names of the types of attributes, by their numbers.
const TYPES: [&str; 12] = [
    "no type",
    "FLOAT",
    "INT",
    "STRING",
    "TENSOR",
    "GRAPH",
    "FLOATS",
    "INTS",
    "STRINGS",
    "TENSORS",
    "GRAPHS",
    "SPARSE_TENSOR",
];

/// ONNX's numbers of the types of attributes.
const INT: i32 = 2;
const STRING: i32 = 3;
const TENSOR: i32 = 4;
const FLOAT: i32 = 1;
const GRAPH: i32 = 5;
const FLOATS: i32 = 6;
const INTS: i32 = 7;
const STRINGS: i32 = 8;

impl<'a> Node<'a> {
    /// Creates a node, if the table lists all its attributes.
    pub(super) fn new(node: &'a proto::Node, opset: i64) -> Result<Self> {
        let proto::Node { input, output, name, op_type, attribute, domain } = node;
        let this = Self { op: op_type, inputs: input, outputs: output, attributes: attribute, name, opset };
        let is_lent = domain == "com.microsoft" && OF_MICROSOFT.contains(&op_type.as_str());
        if !is_lent && !["", "ai.onnx"].contains(&domain.as_str()) {
            let text = format!("an operator of {domain}, which is not ONNX's own; export the model without it");
            return Err(this.error(misfit(text)));
        }
        match ATTRIBUTES.iter().find(|a| a.is(op_type, "")) {
            Some(operator) if operator.treatment == Treatment::Refused => {
                return Err(this.error(misfit(format!("the operator is refused: {}", operator.note))));
            }
            Some(_) => {}
            None => return Err(this.error(misfit("the operator is not read".into()))),
        }
        if attribute.len() > MAX_ATTRIBUTES {
            return Err(this.error(misfit(format!("{} attributes", attribute.len()))));
        }
        for (i, a) in attribute.iter().enumerate() {
            if attribute[..i].iter().any(|b| b.name == a.name) {
                return Err(this.error(misfit(format!("attribute {}: expected it once, got it twice", a.name))));
            }
            if !ATTRIBUTES.iter().any(|known| known.is(op_type, &a.name) && !known.name.is_empty()) {
                return Err(this.error(misfit(format!("attribute {}: not known", a.name))));
            }
        }
        Ok(this)
    }

    /// Returns `error` with the name of the node.
    pub(super) fn error(&self, error: Error) -> Error {
        self.called().error(error)
    }

    /// Returns its name in errors.
    pub(super) fn called(&self) -> Called {
        let first = self.outputs.iter().find(|name| !name.is_empty()).map_or("", String::as_str);
        let (what, name) = if self.name.is_empty() { ("node of ", first) } else { ("node ", self.name) };
        Called { place: format!("{what}{name:?} ({})", self.op), name: name.to_owned() }
    }

    /// Returns the name of input `index`, if the node has it.
    pub(super) fn input(&self, index: usize) -> Option<&'a str> {
        self.inputs.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn attribute<T>(&self, name: &str, kind: i32, read: impl Fn(&'a proto::Attribute) -> T) -> Result<Option<T>> {
        debug_assert!(ATTRIBUTES.iter().any(|a| a.is(self.op, name)), "{} of {} is in the table", name, self.op);
        let Some(attribute) = self.attributes.iter().find(|a| a.name == name) else { return Ok(None) };
        // Files of IR version 0 leave the type out.
        if ![0, kind].contains(&attribute.kind) {
            let of = |kind: i32| {
                usize::try_from(kind)
                    .ok()
                    .and_then(|n| TYPES.get(n))
                    .map_or_else(|| kind.to_string(), |n| (*n).to_owned())
            };
            let text = format!("attribute {name}: expected {}, got {}", of(kind), of(attribute.kind));
            return Err(misfit(text));
        }
        Ok(Some(read(attribute)))
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i64>> {
        self.attribute(name, INT, |a| a.i.unwrap_or(0))
    }

    /// Returns an attribute that is 0 or 1, or 0 if it is left out.
    pub(super) fn flag(&self, name: &str) -> Result<bool> {
        match self.int(name)?.unwrap_or(0) {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(misfit(format!("attribute {name}: expected 0 or 1, got {other}"))),
        }
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>> {
        self.attribute(name, FLOAT, |a| a.f.unwrap_or(0.0))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        self.attribute(name, STRING, |a| String::from_utf8_lossy(a.s.as_deref().unwrap_or_default()).into_owned())
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&'a [i64]>> {
        self.attribute(name, INTS, |a| a.ints.as_slice())
    }

    pub(super) fn floats(&self, name: &str) -> Result<Option<&'a [f32]>> {
        self.attribute(name, FLOATS, |a| a.floats.as_slice())
    }

    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        self.attribute(name, STRINGS, |a| a.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect())
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<&'a proto::Tensor>> {
        self.attribute(name, TENSOR, |a| a.t.as_ref()).map(Option::flatten)
    }

    pub(super) fn graph(&self, name: &str) -> Result<Option<&'a proto::Graph>> {
        self.attribute(name, GRAPH, |a| a.g.as_deref()).map(Option::flatten)
    }
}
