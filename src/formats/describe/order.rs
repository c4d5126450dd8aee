//! The order of layers, from the sizes that each takes and gives: the longest chain, and whether there is another.
//!
//! Knows sizes; knows no names but their order.

use super::groups::{Part, given, taken};
use crate::model::LayerKind;

/// The most steps of the search. The first chain of a real model is found in as many steps as it has layers.
const MOST_STEPS: usize = 20_000;

/// Consecutive layers: each is a part, and one of its readings.
pub(super) type Chain = Vec<(usize, usize)>;

/// The result of the search.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// The longest chain; of several, the first by names.
    pub(super) best: Chain,
    /// Another one that is as long.
    pub(super) other: Option<Chain>,
}

/// Finds the longest chain of `parts`, which are in the order of their names.
pub(super) fn orders(parts: &[Part]) -> Orders {
    let is_table = |kind: &LayerKind| matches!(kind, LayerKind::Embedding(_));
    let has_table = parts.iter().any(|part| part.readings.iter().all(is_table) && !part.readings.is_empty());
    let mut search = Search {
        parts,
        has_table,
        used: vec![false; parts.len()],
        chain: Vec::new(),
        left: MOST_STEPS,
        found: Orders::default(),
    };
    search.extend(None);
    search.found
}

struct Search<'a> {
    parts: &'a [Part],
    /// Whether there is a layer that can only be an embedding. It is the first one then.
    has_table: bool,
    used: Vec<bool>,
    chain: Chain,
    left: usize,
    found: Orders,
}

impl Search<'_> {
    /// Tries every layer after the chain, which gives `width` features, or `None` before its first layer.
    fn extend(&mut self, width: Option<usize>) {
        self.keep();
        for part in 0..self.parts.len() {
            if self.used[part] {
                continue;
            }
            for reading in 0..self.parts[part].readings.len() {
                let kind = &self.parts[part].readings[reading];
                let fits = match (taken(kind), width) {
                    (None, width) => width.is_none(),
                    (Some(_), None) => !self.has_table,
                    (Some(features), Some(width)) => features == width,
                };
                let is_complete = self.found.best.len() == self.parts.len() && self.found.other.is_some();
                if !fits || self.left == 0 || is_complete {
                    continue;
                }
                self.left -= 1;
                let gives = given(kind);
                self.used[part] = true;
                self.chain.push((part, reading));
                self.extend(Some(gives));
                self.chain.pop();
                self.used[part] = false;
            }
        }
    }

    /// Keeps the chain if no longer one was found.
    fn keep(&mut self) {
        let Orders { best, other } = &mut self.found;
        if self.chain.len() > best.len() {
            best.clone_from(&self.chain);
            *other = None;
        } else if self.chain.len() == best.len() && !best.is_empty() && other.is_none() {
            *other = Some(self.chain.clone());
        }
    }
}
