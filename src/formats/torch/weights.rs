//! The weights in what a pickle holds: the dict among others that is the `state_dict`, and its tensors by name.
//!
//! Training frameworks put a `state_dict` beside epochs, optimizers and options. Every walk is bounded, since
//! containers may share their parts or hold themselves. Knows values; knows no file and no model.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

use super::pickle::{LONGEST_NAME, Unpickled, damaged};
use super::value::{Heap, Value};
use crate::error::{Result, some_of};

/// The names of a `state_dict` in a checkpoint. Of several the first counts.
const WRAPPERS: [&str; 10] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "module",
    "checkpoint",
];

/// The beginnings of the names of tensors that a training keeps beside the weights.
const OF_TRAINING: [&str; 14] = [
    "optim",
    "opt_",
    "lr_",
    "sched",
    "callback",
    "loops",
    "hyper_parameters",
    "hparams",
    "last_optimizer",
    "criterion",
    "scaler",
    "amp",
    "rng",
    "native_amp",
];

/// How deep dicts are looked into.
const DEEPEST: usize = 24;

/// The most tensors.
const MOST_TENSORS: usize = 1 << 18;

/// The most bytes of their names and shapes, and the most for each byte of the pickle: dicts may share their parts.
const MOST_NAMES: usize = 1 << 26;
const NAMES_EXPANSION: usize = 64;

/// The most looks at values of dicts. Dicts that share their parts could be walked without end.
const MOST_LOOKS: usize = 1 << 24;

/// Returns the tensors of the weights by name. A name has a dot for each dict inside another.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Weights` if there are none.
pub(super) fn named(unpickled: &Unpickled, bytes: &[u8]) -> Result<Vec<(String, usize)>> {
    let tree = Tree { heap: &unpickled.heap, bytes, looks: Cell::new(0), holding: RefCell::default() };
    let mut root = unpickled.root;
    if tree.heap.pairs(root).is_none() {
        let hint = "save a state_dict: torch.save(model.state_dict(), \"model.pt\")";
        return Err(damaged(format!("expected a dict of tensors by name, got {}; {hint}", root.what())));
    }
    let mut of_training: &[&str] = &[];
    if matches!(root, Value::Dict(_)) {
        for _ in 0..DEEPEST {
            match tree.inner(root) {
                Some(inner) => root = inner,
                None => break,
            }
        }
        // A state_dict by itself has no dicts in it, and any names.
        if tree.entries(root).any(|(_, value)| tree.is_dict(value)) {
            of_training = &OF_TRAINING;
        }
    }
    let mut found = Found { named: Vec::new(), bytes: 0 };
    tree.collect(root, "", 0, of_training, &mut found)?;
    tree.is_bounded()?;
    if found.named.is_empty() {
        let names = tree.entries(root).map(|(name, _)| name).filter(|name| name.len() <= LONGEST_NAME);
        let names: Vec<_> = names.collect();
        let got = match (root, names.is_empty()) {
            (Value::Script(_), _) => {
                "a TorchScript module without parameters, as torch.jit.freeze makes it; save it before it is frozen"
                    .into()
            }
            (_, true) => "an empty dict".to_owned(),
            (_, false) => format!("a dict with none in it, of {}", some_of(names.iter(), 6)),
        };
        return Err(damaged(format!("expected tensors by name, got {got}")));
    }
    Ok(found.named)
}

/// The tensors that were found so far.
struct Found {
    named: Vec<(String, usize)>,
    /// The bytes of all names and shapes.
    bytes: usize,
}

struct Tree<'a> {
    heap: &'a Heap,
    bytes: &'a [u8],
    looks: Cell<usize>,
    /// Whether there is a tensor in the dicts and objects that were asked about.
    holding: RefCell<HashMap<Value, bool>>,
}

impl<'a> Tree<'a> {
    /// Returns the values of a dict that have names. Whole numbers are names too.
    fn entries(&self, value: Value) -> impl Iterator<Item = (Cow<'a, str>, Value)> + use<'a> {
        let (heap, bytes) = (self.heap, self.bytes);
        let name = move |key: Value| match key {
            Value::Text(at) => str::from_utf8(&bytes[heap.texts[at].clone()]).ok().map(Cow::Borrowed),
            Value::Int(number) => Some(Cow::Owned(number.to_string())),
            _ => None,
        };
        let pairs = heap.pairs(value).unwrap_or_default();
        pairs.iter().filter_map(move |&(key, value)| Some((name(key)?, value)))
    }

    /// Counts looks at values, and returns whether there may be more.
    fn looks(&self, count: usize) -> bool {
        self.looks.set(self.looks.get().saturating_add(count));
        self.looks.get() <= MOST_LOOKS
    }

    fn is_bounded(&self) -> Result<()> {
        match self.looks(0) {
            true => Ok(()),
            false => Err(damaged(format!("expected dicts of at most {MOST_LOOKS} values in all, got more"))),
        }
    }

    /// Whether `value` is a dict with tensors in it.
    fn is_dict(&self, value: Value) -> bool {
        matches!(value, Value::Dict(_)) && self.holds(value)
    }

    /// Whether a tensor is in `value` or in a dict inside it.
    fn holds(&self, value: Value) -> bool {
        if let Some(&holds) = self.holding.borrow().get(&value) {
            return holds;
        }
        let (mut left, mut seen, mut holds) = (vec![value], HashSet::new(), false);
        while let (Some(value), false) = (left.pop(), holds) {
            let pairs = self.heap.pairs(value).unwrap_or_default();
            if seen.insert(value) && self.looks(pairs.len()) {
                holds = pairs.iter().any(|(_, value)| matches!(value, Value::Tensor(_)));
                left.extend(pairs.iter().map(|&(_, value)| value));
            }
        }
        self.holding.borrow_mut().insert(value, holds);
        holds
    }

    /// Returns the dict inside `dict` that is the `state_dict`: by its name, or since it is the
    /// only one with tensors and its name says so.
    fn inner(&self, dict: Value) -> Option<Value> {
        let holders: Vec<_> = self.entries(dict).filter(|&(_, value)| self.is_dict(value)).collect();
        let of = |wanted: &str| holders.iter().rev().find(|(name, _)| name == wanted).map(|&(_, value)| value);
        if let Some(inner) = WRAPPERS.into_iter().find_map(of) {
            return Some(inner);
        }
        let mut others = holders.iter().filter(|(name, _)| !is_of_training(name, &OF_TRAINING));
        match (others.next(), others.next()) {
            (Some((name, value)), None) if name.ends_with("state_dict") || name.ends_with("weights") => Some(*value),
            _ => None,
        }
    }

    /// Adds the tensors in `value` to `found`, with names that begin with `prefix`. Leaves out names of a training.
    fn collect(&self, value: Value, prefix: &str, depth: usize, of_training: &[&str], found: &mut Found) -> Result<()> {
        for (name, value) in self.entries(value) {
            if !self.looks(1) {
                return self.is_bounded();
            }
            if is_of_training(&name, of_training) {
                continue;
            }
            let is_inner = matches!(value, Value::Dict(_) | Value::Script(_)) && self.holds(value);
            if name.len() > LONGEST_NAME && (is_inner || matches!(value, Value::Tensor(_))) {
                let length = name.len();
                return Err(damaged(format!("expected names of at most {LONGEST_NAME} bytes, got one of {length}")));
            }
            match value {
                Value::Tensor(view) => {
                    let name = format!("{prefix}{name}");
                    found.bytes += name.len() + size_of_val(&self.heap.views[view].shape[..]);
                    if found.named.len() >= MOST_TENSORS {
                        return Err(damaged(format!("expected at most {MOST_TENSORS} tensors, got more")));
                    }
                    let most = self.bytes.len().saturating_mul(NAMES_EXPANSION).min(MOST_NAMES);
                    if found.bytes > most {
                        return Err(damaged(format!("expected at most {most} bytes of names and shapes, got more")));
                    }
                    found.named.push((name, view));
                }
                _ if is_inner => {
                    if depth == DEEPEST {
                        return Err(damaged(format!("expected dicts at most {DEEPEST} deep, got deeper ones")));
                    }
                    self.collect(value, &format!("{prefix}{name}."), depth + 1, &[], found)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_of_training(name: &str, of_training: &[&str]) -> bool {
    of_training.iter().any(|begin| name.starts_with(begin))
}
