//! Names that a file left out because their tensors are there under other names, or in another form.
//! `safetensors.torch.save_model` writes those of the first kind to the metadata.
//!
//! Knows names alone.

use std::collections::BTreeMap;

/// Maps each name that was left out to the name that was kept, or to what is wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ties {
    kept: BTreeMap<String, String>,
    /// Why a tensor is not there, for names of tensors that the file has in another form.
    lacking: BTreeMap<String, String>,
}

impl Ties {
    /// Finds the ties in `said`, the metadata of a file. Other text is there too. An entry is a tie if its name has a
    /// dot, or if it leads to a tensor.
    pub(super) fn of(said: &BTreeMap<String, String>, is_tensor: impl Fn(&str) -> bool) -> Self {
        let leads = |name: &str, kept: &str| name.contains('.') || is_tensor(kept) || said.contains_key(kept);
        let tied = said.iter().filter(|(name, kept)| !is_tensor(name) && leads(name, kept));
        let kept = tied.map(|(name, kept)| (name.clone(), kept.clone())).collect();
        Self { kept, lacking: BTreeMap::new() }
    }

    /// Returns pairs of the name that was left out and the name that was kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.kept.iter().map(|(name, kept)| (name.as_str(), kept.as_str()))
    }

    /// Returns the name that was kept for `name`.
    pub(super) fn kept(&self, name: &str) -> Option<&str> {
        self.kept.get(name).map(String::as_str)
    }

    /// Removes `name`.
    pub(super) fn remove(&mut self, name: &str) {
        self.kept.remove(name);
        self.lacking.remove(name);
    }

    /// Adds a name of the tensor that is called `kept`.
    pub(super) fn insert(&mut self, name: String, kept: String) {
        self.kept.insert(name, kept);
    }

    /// Says why there is no tensor `name`.
    pub(super) fn lack(&mut self, name: String, why: String) {
        self.lacking.insert(name, why);
    }

    /// Changes all names.
    pub(super) fn rename(&mut self, new: impl Fn(String) -> String) {
        let ties = std::mem::take(self);
        self.kept = ties.kept.into_iter().map(|(name, kept)| (new(name), new(kept))).collect();
        self.lacking = ties.lacking.into_iter().map(|(name, why)| (new(name), why)).collect();
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.kept.extend(others.kept);
        self.lacking.extend(others.lacking);
    }

    /// Says why there is no tensor `name`, or what is wrong with its tie.
    pub(super) fn trouble(&self, name: &str) -> Option<String> {
        if let Some(why) = self.lacking.get(name) {
            return Some(why.clone());
        }
        let kept = self.kept(name)?;
        let says = format!("the metadata ties it to {kept}");
        let Some(next) = self.kept(kept) else { return Some(format!("{says}, which is no tensor of the file")) };
        let mut walk = std::iter::successors(Some(kept), |at| self.kept(at)).take(self.kept.len());
        Some(match walk.any(|at| at == name) {
            true => format!("{says}, and that back to it: a cycle"),
            false => format!("{says}, and that to {next}; tie it to a tensor of the file"),
        })
    }
}
