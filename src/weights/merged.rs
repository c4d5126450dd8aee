//! Weights ⇄ tensors by name, one for all layers that share it: the form in which they are trained.

use std::collections::{BTreeMap, HashSet};

use ndarray::Array2;

use super::{CellWeights, LayerWeights, LearnedStates, Weights};
use crate::error::Result;
use crate::model::{INITIAL_CELL, INITIAL_HIDDEN, Initial, LayerKind, Model, Param, Recurrent, Role};

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    /// Its role.
    pub(crate) role: Role,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
    /// Its elements, row-major.
    pub(crate) data: Vec<f32>,
}

impl Weights {
    /// Returns the tensors by name, as [`to_tensors`](Self::to_tensors) does. Of several with one name it is the first.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Weights` if these weights do not belong to `model`.
    pub(crate) fn named(&self, model: &Model) -> Result<BTreeMap<String, Named>> {
        self.merged(model, |_, _| ())
    }

    /// [`named`](Self::named), with the sum of tensors of one name: gradients of tensors that layers share.
    ///
    /// # Errors
    ///
    /// As [`named`](Self::named).
    pub(crate) fn sums(&self, model: &Model) -> Result<BTreeMap<String, Named>> {
        self.merged(model, |sum, own| sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own))
    }

    fn merged(&self, model: &Model, merge: impl Fn(&mut [f32], &[f32])) -> Result<BTreeMap<String, Named>> {
        let mut all: BTreeMap<String, Named> = BTreeMap::new();
        let mut stacks = 0;
        for (layer, weights) in model.layers.iter().zip(&self.layers) {
            let mut arrays = weights.arrays();
            if let LayerKind::Recurrent(_) = layer.kind {
                arrays.extend(self.initial.get(&stacks).into_iter().flat_map(LearnedStates::arrays));
                stacks += 1;
            }
            for (Param { name, shape, role, .. }, tensor) in layer.kind.tensors().zip(arrays) {
                let name = layer.prefix.clone() + &name;
                let data = tensor.read()?;
                match all.get_mut(&name) {
                    Some(first) => merge(&mut first.data, &data),
                    None => drop(all.insert(name, Named { role, shape, data: data.into_owned() })),
                }
            }
        }
        Ok(all)
    }

    /// Sets each tensor to zero if an earlier one has its name. The gradient of a tensor
    /// that layers share then counts once.
    pub(crate) fn keep_firsts(&mut self, model: &Model) {
        let mut seen = HashSet::new();
        for (layer, weights) in model.layers.iter().zip(&mut self.layers) {
            let mut names = layer.kind.tensors().map(|Param { name, .. }| layer.prefix.clone() + &name);
            weights.each_mut(&mut |data| {
                if names.next().is_some_and(|name| !seen.insert(name)) {
                    data.fill(0.0);
                }
            });
        }
    }
}

/// Returns the gradients of the learned states of `model`, by name; those of one name are added.
pub(crate) fn sums_of_states(model: &Model, states: &BTreeMap<usize, LearnedStates>) -> BTreeMap<String, Named> {
    let mut all: BTreeMap<String, Named> = BTreeMap::new();
    for ((prefix, r), states) in stacks(model).enumerate().filter_map(|(i, stack)| Some((stack, states.get(&i)?))) {
        for (Param { name, shape, role, .. }, array) in
            r.learned().zip([Some(&states.h), states.c.as_ref()].into_iter().flatten())
        {
            let own = array.iter().copied();
            match all.get_mut(&format!("{prefix}{name}")) {
                Some(sum) => sum.data.iter_mut().zip(own).for_each(|(sum, own)| *sum += own),
                None => drop(all.insert(format!("{prefix}{name}"), Named { role, shape, data: own.collect() })),
            }
        }
    }
    all
}

/// Returns the states in `named`, by the stacks of `model` that begin there.
pub(crate) fn states_of(model: &Model, named: &BTreeMap<String, Named>) -> BTreeMap<usize, LearnedStates> {
    let array = |name: String| {
        let Named { shape, data, .. } = named.get(&name)?;
        Array2::from_shape_vec((shape[0], shape[1]), data.clone()).ok()
    };
    let of = |(index, (prefix, _)): (usize, (&str, &Recurrent))| {
        let h = array(format!("{prefix}{INITIAL_HIDDEN}"))?;
        Some((index, LearnedStates { h, c: array(format!("{prefix}{INITIAL_CELL}")) }))
    };
    stacks(model).enumerate().filter(|(_, (_, r))| r.initial == Initial::Learned).filter_map(of).collect()
}

/// The recurrent stacks of `model`, each with the prefix of its tensors' names.
fn stacks(model: &Model) -> impl Iterator<Item = (&str, &Recurrent)> {
    model.layers.iter().filter_map(|layer| match &layer.kind {
        LayerKind::Recurrent(r) => Some((layer.prefix.as_str(), r)),
        _ => None,
    })
}

impl LayerWeights {
    /// Calls `each` with the elements of each array, in the order of the layer's table.
    fn each_mut(&mut self, each: &mut dyn FnMut(&mut [f32])) {
        let whole = "arrays are made whole";
        match self {
            Self::None => {}
            Self::Embedding(table) => each(table.as_slice_mut().expect(whole)),
            Self::Recurrent(cells) => {
                for CellWeights { w_x, w_h, b_x, b_h, w_r, peepholes } in cells {
                    each(w_x.as_slice_mut().expect(whole));
                    each(w_h.as_slice_mut().expect(whole));
                    [b_x, b_h].into_iter().flatten().for_each(|b| each(b.as_slice_mut().expect(whole)));
                    [w_r, peepholes].into_iter().flatten().for_each(|w| each(w.as_slice_mut().expect(whole)));
                }
            }
            Self::Linear { w, b } => {
                each(w.as_slice_mut().expect(whole));
                b.iter_mut().for_each(|b| each(b.as_slice_mut().expect(whole)));
            }
            Self::Conv { w, b } => {
                each(w.as_slice_mut().expect(whole));
                b.iter_mut().for_each(|b| each(b.as_slice_mut().expect(whole)));
            }
            Self::Norm(norm) => norm.each_mut().for_each(|array| each(array.as_slice_mut().expect(whole))),
        }
    }
}
