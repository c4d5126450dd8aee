//! Named tensors, as in a file: readers make them, and `Weights` are made from them.
//!
//! Knows names, shapes and elements; knows no model and no file format.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::tensor::Tensor;
use super::ties::Ties;
use crate::error::some_of;

/// Tensors by name.
///
/// A tensor of an unsupported type, such as an integer counter in a `state_dict`, is kept by name, shape and type. It
/// is an error only if a model needs it.
#[derive(Clone, Debug, Default)]
pub struct Tensors {
    entries: BTreeMap<String, Entry>,
    /// Names that are other names of tensors.
    ties: Ties,
}

impl PartialEq for Tensors {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Read(Tensor),
    Unread { dtype: String, shape: Vec<usize> },
}

impl Tensors {
    /// Makes an empty set of tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.put(name.into(), Entry::Read(tensor));
    }

    /// Adds the name, shape and type of a tensor of an unsupported type.
    pub fn insert_unread(&mut self, name: impl Into<String>, dtype: impl Into<String>, shape: Vec<usize>) {
        self.put(name.into(), Entry::Unread { dtype: dtype.into(), shape });
    }

    fn put(&mut self, name: String, entry: Entry) {
        self.ties.remove(&name);
        self.entries.insert(name, entry);
    }

    /// Adds tensors that the file has under other names. `said` maps each name that was left out to the name that was
    /// kept. If there is already a tensor of a left-out name, it stays.
    pub(crate) fn tie(&mut self, said: &BTreeMap<String, String>) {
        self.ties = Ties::of(said, |name| self.entries.contains_key(name));
        let tied = self.ties.iter().filter_map(|(name, kept)| Some((name.to_owned(), self.entries.get(kept)?.clone())));
        let tied: Vec<_> = tied.collect();
        self.entries.extend(tied);
    }

    /// Adds `tensor` under `name`, and remembers that the file calls it `own`.
    pub(crate) fn tie_to(&mut self, name: &str, own: &str, tensor: Tensor) {
        self.insert(name, tensor);
        if name != own {
            self.ties.insert(name.to_owned(), own.to_owned());
        }
    }

    /// Remembers why there is no tensor `name`, for the error that names it.
    pub(crate) fn lack(&mut self, name: String, why: String) {
        self.ties.lack(name, why);
    }

    /// Removes the tensor `name`.
    pub(crate) fn drop_name(&mut self, name: &str) {
        self.entries.remove(name);
        self.ties.remove(name);
    }

    /// Gives tensors other names: `new` returns one, or `None` for a name that stays. A tensor that
    /// would take the name of another keeps its own.
    pub(crate) fn rename_all(&mut self, new: impl Fn(&str) -> Option<String>) {
        let is_free = |new: &String| !self.entries.contains_key(new);
        let names = self.entries.keys().filter_map(|name| Some((name.clone(), new(name).filter(is_free)?)));
        let names: BTreeMap<String, String> = names.collect();
        let entries = std::mem::take(&mut self.entries);
        let renamed = |name: String| names.get(&name).cloned().or_else(|| new(&name)).unwrap_or(name);
        for (name, entry) in entries {
            let new = names.get(&name).filter(|new| !self.entries.contains_key(*new));
            let name = new.cloned().unwrap_or(name);
            self.entries.insert(name, entry);
        }
        self.ties.rename(renamed);
    }

    /// Returns the name in the file of the tensor `name`, which may have another name there.
    pub(super) fn kept<'a>(&'a self, name: &'a str) -> &'a str {
        self.ties.kept(name).unwrap_or(name)
    }

    /// Says why `name` is missing although the file says which tensor it names.
    pub(crate) fn trouble(&self, name: &str) -> Option<String> {
        if self.contains(name) { None } else { self.ties.trouble(name) }
    }

    /// Returns the tensor named `name`, if it is there and its type is supported.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        match self.entries.get(name) {
            Some(Entry::Read(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// Returns the shape of the tensor named `name`, also if its type is not supported.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| match entry {
            Entry::Read(tensor) => tensor.shape(),
            Entry::Unread { shape, .. } => shape.as_slice(),
        })
    }

    /// Returns whether there is a tensor named `name`, also if its type is not supported.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Returns all names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Returns the names that begin with `stem`, sorted, without a look at any other name.
    pub(crate) fn names_that_begin(&self, stem: &str) -> impl Iterator<Item = &str> {
        let from = (Bound::Included(stem), Bound::Unbounded);
        self.entries.range::<str, _>(from).map(|(name, _)| name.as_str()).take_while(move |name| name.starts_with(stem))
    }

    /// Returns the tensors of supported types, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.entries.iter().filter_map(|(name, entry)| match entry {
            Entry::Read(tensor) => Some((name.as_str(), tensor)),
            Entry::Unread { .. } => None,
        })
    }

    /// Keeps the tensors whose names `keep` accepts.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.entries.retain(|name, _| keep(name));
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Entry> {
        self.entries.remove(name)
    }

    /// Says what to do about the missing tensor `prefix` + `local`: the prefix that the file seems to use, similar
    /// names, or the only tensor that it may be tied to. `fits` says whether a shape would fit.
    pub(crate) fn hint(&self, prefix: &str, local: &str, fits: impl Fn(&[usize]) -> bool) -> String {
        if self.entries.is_empty() {
            return "the file holds no tensors".into();
        }
        let wanted = format!("{prefix}{local}");
        if let Some(trouble) = self.ties.trouble(&wanted) {
            return trouble;
        }
        if !self.names().any(|name| !prefix.is_empty() && name.starts_with(prefix))
            && let Some(hint) = self.other_prefix(prefix, local)
        {
            return hint;
        }
        let mut near: Vec<(usize, &str)> =
            self.names().map(|name| (likeness(name, &wanted), name)).filter(|&(l, _)| 2 * l >= wanted.len()).collect();
        near.sort_by_key(|&(likeness, name)| (std::cmp::Reverse(likeness), name));
        let mut hint = match near.is_empty() {
            true => format!("there is {}", some_of(self.names(), SHOWN)),
            false => format!("near it, there is {}", some_of(near.into_iter().map(|(_, name)| name), SHOWN)),
        };
        let others = self.of_other_layers(local).filter(|name| self.shape(name).is_some_and(&fits));
        if let [other] = others.collect::<Vec<_>>()[..] {
            hint += &format!(
                "; if it is tied to {other}, say so in the metadata, as safetensors.torch.save_model does: \"{wanted}\": \
                 \"{other}\""
            );
        }
        hint
    }

    /// The tensors that are called `local` after a prefix.
    fn of_other_layers(&self, local: &str) -> impl Iterator<Item = &str> {
        let is_prefix = |prefix: &str| prefix.is_empty() || prefix.ends_with('.');
        self.names().filter(move |name| name.strip_suffix(local).is_some_and(is_prefix))
    }

    fn other_prefix(&self, prefix: &str, local: &str) -> Option<String> {
        let mut others: Vec<&str> = self.of_other_layers(local).map(|name| &name[..name.len() - local.len()]).collect();
        if !prefix.is_empty() && others.iter().any(|other| other.ends_with(prefix)) {
            others.retain(|other| other.ends_with(prefix));
        }
        match others[..] {
            [] => None,
            [other] => Some(format!("there is {other}{local}; set \"weights\": \"{other}\"")),
            _ => Some(format!(
                "there is {}; set \"weights\" to what stands before {local}",
                some_of(others.iter().map(|other| format!("{other}{local}")), SHOWN)
            )),
        }
    }
}

impl<N: Into<String>> FromIterator<(N, Tensor)> for Tensors {
    fn from_iter<I: IntoIterator<Item = (N, Tensor)>>(tensors: I) -> Self {
        let mut all = Self::new();
        all.extend(tensors);
        all
    }
}

impl<N: Into<String>> Extend<(N, Tensor)> for Tensors {
    fn extend<I: IntoIterator<Item = (N, Tensor)>>(&mut self, tensors: I) {
        tensors.into_iter().for_each(|(name, tensor)| self.insert(name, tensor));
    }
}

impl Extend<Self> for Tensors {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, all: I) {
        for tensors in all {
            self.entries.extend(tensors.entries);
            self.ties.extend(tensors.ties);
        }
    }
}

/// Returns a warning for each tensor that holds a NaN or an infinity: `w: 1 of 64 elements is NaN or infinite`.
pub fn non_finite(tensors: &Tensors) -> Vec<String> {
    tensors
        .iter()
        .filter_map(|(name, tensor)| {
            let elements = tensor.read().ok()?;
            non_finite_warning(name, elements.iter().filter(|x| !x.is_finite()).count(), elements.len())
        })
        .collect()
}

/// Returns the warning about tensor `name`, in which `bad` of `len` elements are NaN or
/// infinite; `None` if there are none.
pub fn non_finite_warning(name: &str, bad: usize, len: usize) -> Option<String> {
    let verb = if bad == 1 { "is" } else { "are" };
    (bad > 0).then(|| format!("{name}: {bad} of {len} elements {verb} NaN or infinite"))
}

/// How many names a message lists.
const SHOWN: usize = 4;

/// The number of characters that two names share at their beginnings and their ends.
fn likeness(a: &str, b: &str) -> usize {
    let begin = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let rest = a.len().min(b.len()) - begin;
    begin + a.bytes().rev().zip(b.bytes().rev()).take(rest).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_by_their_beginning() {
        let tensors: Tensors =
            ["a", "b.1", "b.2", "ba", "c"].map(|name| (name, Tensor::new([], vec![0.0]))).into_iter().collect();
        assert_eq!(tensors.names_that_begin("b.").collect::<Vec<_>>(), ["b.1", "b.2"]);
        assert_eq!(tensors.names_that_begin("").count(), 5);
        assert_eq!(tensors.names_that_begin("d").count(), 0);
    }
}
