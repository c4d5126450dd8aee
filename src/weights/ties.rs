//! Names that a file left out because their tensors are there under other names.
//! `safetensors.torch.save_model` writes them to the metadata.
//!
//! Knows names alone.

use std::collections::BTreeMap;

/// Maps each name that was left out to the name that was kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Ties(BTreeMap<String, String>);

impl Ties {
    /// Finds the ties in `said`, the metadata of a file. Other text is there too. An entry is a tie if its name has a
    /// dot, or if it leads to a tensor.
    pub(super) fn of(said: &BTreeMap<String, String>, is_tensor: impl Fn(&str) -> bool) -> Self {
        let leads = |name: &str, kept: &str| name.contains('.') || is_tensor(kept) || said.contains_key(kept);
        let tied = said.iter().filter(|(name, kept)| !is_tensor(name) && leads(name, kept));
        Self(tied.map(|(name, kept)| (name.clone(), kept.clone())).collect())
    }

    /// Returns pairs of the name that was left out and the name that was kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, kept)| (name.as_str(), kept.as_str()))
    }

    /// Returns the name that was kept for `name`.
    pub(super) fn kept(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Removes `name`.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Says what is wrong with the tie of `name`, which led to no tensor.
    pub(super) fn trouble(&self, name: &str) -> Option<String> {
        let kept = self.kept(name)?;
        let says = format!("the metadata ties it to {kept}");
        let Some(next) = self.kept(kept) else { return Some(format!("{says}, which is no tensor of the file")) };
        let mut walk = std::iter::successors(Some(kept), |at| self.kept(at)).take(self.0.len());
        Some(match walk.any(|at| at == name) {
            true => format!("{says}, and that back to it: a cycle"),
            false => format!("{says}, and that to {next}; tie it to a tensor of the file"),
        })
    }
}
