//! How a reader treats each attribute of a format. Readers obey these tables, and docs/formats.md prints them.
//!
//! A reader refuses an attribute that its table does not list, so that none is ignored.

use std::fmt;

/// How an attribute is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Treatment {
    /// It is computed as the format defines it.
    Supported,
    /// It changes no number at inference: training, names, hints.
    Identity,
    /// It is refused, except for values that the note allows.
    Refused,
}

/// An attribute of a layer or an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Attribute {
    /// The layer or operator; several that share the attribute are separated by spaces.
    pub of: &'static str,
    /// Its name in the file; several that share a row are separated by spaces. Empty: the layer or operator as a whole.
    pub name: &'static str,
    /// How it is treated.
    pub treatment: Treatment,
    /// Which values are supported, what to use instead, or the reason.
    pub note: &'static str,
}

impl Attribute {
    /// Whether the row is about attribute `name` of `layer`.
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

/// Returns the table as Markdown, with one line for each attribute.
pub fn markdown(attributes: &[Attribute]) -> String {
    let line = |a: &Attribute| {
        let names = a.name.split(' ').filter(|name| !name.is_empty()).map(|name| format!("`{name}`"));
        let name = names.collect::<Vec<_>>().join(", ");
        format!("| {} | {name} | {} | {} |\n", a.of, a.treatment, a.note)
    };
    let head = "| of | attribute | here | which values, and why |\n| --- | --- | --- | --- |\n";
    head.to_owned() + &attributes.iter().map(line).collect::<String>()
}
