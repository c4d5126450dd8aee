//! What a file of weights alone has beside those that its model takes: nothing, if the description is of that model.
//!
//! Keras skips layers of the file that the model does not have, and so would load the weights of another model.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::graph::{Graph, Kind, Node};
use super::variables::{Dialect, LAYER_NAMES, Variables, list, names};
use crate::error::{Error, ErrorKind, Result, some_of};

/// The most groups and datasets that are looked at, over and over ones included. A model has a few for each layer.
const MOST_LOOKS: usize = 1 << 20;

/// How deep groups are looked into. A model in a model is four levels deeper.
const DEEPEST: usize = 64;

/// The group of a layer's random numbers, which are no weights.
const SEEDS: &str = "seed_generator";

impl Variables {
    /// Checks that all weights of a file that has nothing else are those of layers of `graph`.
    pub(super) fn check_rest(&self, graph: &Graph) -> Result<()> {
        let rest = Rest { variables: self, left: Cell::new(MOST_LOOKS) };
        match self.dialect {
            _ if !self.alone => Ok(()),
            Dialect::Paths => rest.of_group(self.group, graph).and_then(|()| rest.of_paths(graph)),
            Dialect::Names => rest.of_names(graph),
        }
    }
}

struct Rest<'a> {
    variables: &'a Variables,
    /// How many groups and datasets may still be looked at: a file may have one group at many places.
    left: Cell<usize>,
}

impl Rest<'_> {
    /// Returns the names of the groups and of the datasets in the group at `path`.
    fn members(&self, path: &str) -> Result<[Vec<String>; 2]> {
        let members = self.variables.hdf5.members(path)?;
        self.look(path, members.iter().map(Vec::len).sum())?;
        Ok(members)
    }

    /// Counts `looks` more.
    fn look(&self, path: &str, looks: usize) -> Result<()> {
        let left = self.left.get().checked_sub(looks.saturating_add(1));
        let left =
            left.ok_or_else(|| wrong(format!("{path}: expected at most {MOST_LOOKS} groups in all, got more")))?;
        self.left.set(left);
        Ok(())
    }

    /// Checks the layers in `group`, which are those of `graph`.
    fn of_group(&self, group: &str, graph: &Graph) -> Result<()> {
        let known: HashSet<&str> = graph.nodes.iter().map(|node| node.path.as_str()).collect();
        let [layers, _] = self.members(group)?;
        for layer in layers.iter().filter(|layer| !known.contains(layer.as_str())) {
            let path = format!("{group}/{layer}");
            if self.has_weights(&path)? {
                return Err(more(&path, graph.nodes.iter().map(|node| node.path.as_str())));
            }
        }
        for node in &graph.nodes {
            let (within, inner) = match &node.kind {
                Kind::Model(inner) => (format!("{group}/{}/{}", node.path, self.variables.group), inner),
                Kind::EachStep(inner) => (format!("{group}/{}/layer/{}", node.path, self.variables.group), inner),
                _ => continue,
            };
            self.of_group(&within, inner).map_err(|e| node.error(e))?;
        }
        Ok(())
    }

    /// Whether there are datasets in the group at `path`, or in a group inside it.
    fn has_weights(&self, path: &str) -> Result<bool> {
        let mut left = vec![path.to_owned()];
        while let Some(path) = left.pop() {
            let [groups, datasets] = self.members(&path)?;
            // Only groups that hold themselves are as deep.
            if !datasets.is_empty() || path.split('/').count() > DEEPEST {
                return Ok(true);
            }
            left.extend(groups.iter().filter(|group| *group != SEEDS).map(|group| format!("{path}/{group}")));
        }
        Ok(false)
    }

    /// Checks that of a group of which a layer has taken variables it has taken all.
    fn of_paths(&self, graph: &Graph) -> Result<()> {
        let Variables { group: top, taken, .. } = self.variables;
        let groups: BTreeSet<&str> = taken.iter().filter_map(|path| path.rsplit_once('/')).map(|(g, _)| g).collect();
        for group in groups {
            let [_, datasets] = self.members(group)?;
            let paths = datasets.iter().map(|dataset| format!("{group}/{dataset}"));
            self.taken_all(paths.collect()).map_err(|e| {
                let inside = group.strip_prefix(top).and_then(|rest| rest.split('/').nth(1));
                of_node(graph.nodes.iter().find(|node| inside == Some(&node.path)), e)
            })?;
        }
        Ok(())
    }

    fn of_names(&self, graph: &Graph) -> Result<()> {
        let nodes: BTreeMap<&str, &Node> = graph.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
        let Variables { hdf5, group, taken, .. } = self.variables;
        for layer in list(hdf5, group, LAYER_NAMES)?.unwrap_or_default() {
            let group = if group.is_empty() { layer.clone() } else { format!("{group}/{layer}") };
            let paths: Vec<String> = names(hdf5, &group)?.iter().map(|name| format!("{group}/{name}")).collect();
            self.look(&group, paths.iter().map(String::len).sum::<usize>() / 64)?;
            let node = nodes.get(layer.as_str()).copied();
            match node {
                None if paths.is_empty() => {}
                None => return Err(more(&group, nodes.keys().copied())),
                // A layer that no output needs takes none.
                Some(_) if !paths.iter().any(|path| taken.contains(path)) => {}
                Some(_) => self.taken_all(paths).map_err(|e| of_node(node, e))?,
            }
        }
        Ok(())
    }

    /// Checks that all variables at `paths` have been taken, but for counters, which are numbers without an axis.
    fn taken_all(&self, paths: Vec<String>) -> Result<()> {
        for path in paths.iter().filter(|path| !self.variables.taken.contains(*path)) {
            if self.variables.hdf5.axes(path)?.is_some_and(|axes| axes > 0) {
                let text = "expected no such variable by the description, got one; write both from one model \
                            (model.to_json(), model.save_weights)";
                return Err(wrong(text.into()).at_tensor(path));
            }
        }
        Ok(())
    }
}

/// The error of a layer of the file that the description does not have.
fn more<'a>(layer: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known = some_of(known, 6);
    wrong(format!(
        "{layer}: expected a layer of the description, got weights of another one; it has {known}: write both from one model \
         (model.to_json(), model.save_weights)"
    ))
}

fn of_node(node: Option<&Node>, error: Error) -> Error {
    match node {
        Some(node) => node.error(error),
        None => error,
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Weights, message)
}
