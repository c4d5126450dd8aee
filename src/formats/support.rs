//! What a reader makes of each attribute of a format: the tables that the readers obey and that docs/formats.md prints.
//!
//! A reader refuses an attribute that its table does not list, so that none is ignored.

use std::fmt;

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Treatment {
    /// It is computed as the format says.
    Supported,
    /// It changes no number at inference: training, names, hints.
    Identity,
    /// It is refused, or all its values but the one in the note are.
    Refused,
}

/// An attribute of a layer or an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// The layer or operator; several that share the attribute are parted by spaces.
    pub of: &'static str,
    /// Its name in the file; several that share a row are parted by spaces. Empty: the layer or operator as a whole.
    pub name: &'static str,
    /// What becomes of it.
    pub treatment: Treatment,
    /// Which values, what instead, or why not.
    pub note: &'static str,
}

impl Attribute {
    /// Whether the row is of attribute `name` of `layer`.
    pub fn is(&self, layer: &str, name: &str) -> bool {
        self.name.split(' ').any(|own| own == name) && self.of.split(' ').any(|of| of == layer)
    }
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Supported => "supported",
            Self::Identity => "identity",
            Self::Refused => "refused",
        })
    }
}

/// The table as Markdown, a line for each attribute.
pub fn markdown(attributes: &[Attribute]) -> String {
    let line = |a: &Attribute| {
        let names = a.name.split(' ').filter(|name| !name.is_empty()).map(|name| format!("`{name}`"));
        let name = names.collect::<Vec<_>>().join(", ");
        format!("| {} | {name} | {} | {} |\n", a.of, a.treatment, a.note)
    };
    let head = "| of | attribute | here | which values, and why |\n| --- | --- | --- | --- |\n";
    head.to_owned() + &attributes.iter().map(line).collect::<String>()
}
