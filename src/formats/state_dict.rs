//! Parameters of PyTorch that a file has in other forms: weight normalization, spectral normalization, weight drop.
//!
//! A module computes its weight from them before each call. What that gives is made here, when it is read, under the
//! usual name. Knows names and shapes of a `state_dict`; knows no model.

use crate::error::{Error, ErrorKind, Result};
use crate::model::{INITIAL_CELL, INITIAL_HIDDEN};
use crate::weights::{Tensor, Tensors};

/// What `torch.nn.utils.parametrize` puts between a module's name and that of its parameter.
const PARAMETRIZATIONS: &str = "parametrizations.";

/// Puts weights under their usual names in place of what they are computed from.
pub(super) fn resolve(tensors: &mut Tensors) {
    let names: Vec<String> = tensors.names().map(str::to_owned).collect();
    for name in &names {
        if let Some((whole, magnitude, direction)) = normalized(name, tensors) {
            let (Some(g), Some(v)) = (tensors.get(&magnitude), tensors.get(&direction)) else { continue };
            if tensors.contains(&whole) || !is_magnitude(g.shape(), v.shape()) {
                continue;
            }
            let weight = scaled(g.clone(), v.clone());
            tensors.insert(whole, weight);
            tensors.drop_name(&magnitude);
            tensors.drop_name(&direction);
        } else if let Some((whole, why)) = refused(name, tensors) {
            tensors.lack(whole, why);
        } else if let Some(whole) = dropped(name, tensors)
            && let Some(weight) = tensors.get(name).cloned()
        {
            tensors.insert(whole, weight);
            tensors.drop_name(name);
        }
    }
}

/// If `name` is the magnitude of weight normalization, returns the weight's name, and those of magnitude and direction.
///
/// `torch.nn.utils.weight_norm` has `weight_g` and `weight_v`, and
/// `torch.nn.utils.parametrizations.weight_norm` has `parametrizations.weight.original0` and `.original1`.
fn normalized(name: &str, tensors: &Tensors) -> Option<(String, String, String)> {
    let (whole, direction) = if let Some(stem) = name.strip_suffix(".original0") {
        (unparametrized(stem)?, format!("{stem}.original1"))
    } else {
        let stem = name.strip_suffix("_g")?;
        local(stem).starts_with("weight").then(|| (stem.to_owned(), format!("{stem}_v")))?
    };
    tensors.contains(&direction).then(|| (whole, name.to_owned(), direction))
}

/// Returns `lstm.weight_hh_l0` for `lstm.parametrizations.weight_hh_l0`.
fn unparametrized(stem: &str) -> Option<String> {
    let (module, parameter) = stem.split_at(stem.len() - local(stem).len());
    Some(format!("{}{parameter}", module.strip_suffix(PARAMETRIZATIONS)?))
}

/// Returns the part of a name behind its last dot.
fn local(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Whether a magnitude of shape `g` scales a direction of shape `v`: it has
/// a number for each index of one axis, or one for all.
fn is_magnitude(g: &[usize], v: &[usize]) -> bool {
    g.is_empty()
        || g.len() == v.len()
            && g.iter().zip(v).all(|(&g, &v)| g == 1 || g == v)
            && g.iter().filter(|&&n| n != 1).count() <= 1
}

/// Returns g · v / ‖v‖, with the norm over all axes but the one that `g` has. Salimans and Kingma 2016, equation 2.
fn scaled(g: Tensor, v: Tensor) -> Tensor {
    let shape = v.shape().to_vec();
    Tensor::stored(shape.clone(), move || {
        let (scales, elements) = (g.read()?, v.read()?);
        // The elements of one scale: every `stride`, in runs.
        let axis = g.shape().iter().position(|&n| n != 1);
        let stride: usize = axis.map_or(1, |axis| shape[axis + 1..].iter().product());
        let of = |index: usize| if axis.is_some() { index / stride % scales.len() } else { 0 };
        let mut squares = vec![0.0_f64; scales.len()];
        for (index, &element) in elements.iter().enumerate() {
            squares[of(index)] += f64::from(element) * f64::from(element);
        }
        let factors: Vec<f64> = scales.iter().zip(&squares).map(|(&g, square)| f64::from(g) / square.sqrt()).collect();
        #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
        let weight = |(index, &element): (usize, &f32)| (f64::from(element) * factors[of(index)]) as f32;
        Ok(elements.iter().enumerate().map(weight).collect())
    })
}

/// If `name` shows that a weight is made in a way that is not computed here, returns its name, and why it is missing.
fn refused(name: &str, tensors: &Tensors) -> Option<(String, String)> {
    if let Some(whole) = name.strip_suffix("_orig") {
        let why = if tensors.contains(&format!("{whole}_u")) {
            "under spectral normalization; call torch.nn.utils.remove_spectral_norm(module) before it is saved"
        } else if tensors.contains(&format!("{whole}_mask")) {
            "pruned; call torch.nn.utils.prune.remove(module, name) before it is saved"
        } else {
            return None;
        };
        return Some((whole.to_owned(), format!("the file has it as {name}, {why}")));
    }
    let whole = unparametrized(name.strip_suffix(".original")?)?;
    let stem = name.trim_end_matches("original");
    let how = match tensors.contains(&format!("{stem}0._u")) {
        true => "under spectral normalization",
        false => "under a parametrization that is not computed here",
    };
    let hint = "call torch.nn.utils.parametrize.remove_parametrizations(module, name) before it is saved";
    Some((whole, format!("the file has it as {name}, {how}; {hint}")))
}

/// If `name` is the weight of a module under weight drop (AWD-LSTM), returns the usual name.
///
/// It is `weight_hh_l0_raw`, beside the module's other tensors or beside the module, which is called `module`. There
/// the module may have a copy from a training step, which counts for nothing at inference.
fn dropped(name: &str, tensors: &Tensors) -> Option<String> {
    let stem = name.strip_suffix("_raw").filter(|stem| local(stem).starts_with("weight_"))?;
    let prefix = &stem[..stem.len() - local(stem).len()];
    let inside = format!("{prefix}module.");
    let has_others = tensors.names_that_begin(&inside).any(|name| local(name).starts_with("weight_ih"));
    let whole = if has_others { format!("{inside}{}", local(stem)) } else { stem.to_owned() };
    (has_others || !tensors.contains(&whole)).then_some(whole)
}

/// Puts tensors of a layer under the names of its table. `names` has pairs of the table's name and the file's.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Weights` if the file has no tensor of a name.
pub(super) fn rename(tensors: &mut Tensors, names: &[(String, String)]) -> Result<()> {
    for (usual, own) in names {
        // A wrapper's prefix is before names of their own, too.
        let end = format!(".{own}");
        let longer: Vec<_> = tensors.names().filter(|name| name.ends_with(&end)).take(2).collect();
        let found = match (tensors.contains(own), &longer[..]) {
            (false, [longer]) => (*longer).to_owned(),
            _ => own.clone(),
        };
        let Some(tensor) = tensors.get(&found).cloned() else {
            let hint = tensors.hint("", own, |_| false);
            let message = format!("{own}: expected a tensor of that name, got none; {hint}");
            return Err(Error::new(ErrorKind::Weights, message).of_tensor(own));
        };
        let tensor = if is_state(usual) { as_rows(tensor) } else { tensor };
        tensors.tie_to(usual, &found, tensor);
    }
    Ok(())
}

/// Whether the table's name is that of a learned state.
fn is_state(usual: &str) -> bool {
    [INITIAL_HIDDEN, INITIAL_CELL].contains(&local(usual))
}

/// Returns a state as rows of features: PyTorch's modules keep one for all rows of a batch, `[L · D, 1, H]` or `[H]`.
fn as_rows(tensor: Tensor) -> Tensor {
    let shape = match *tensor.shape() {
        [rows, 1, features] => vec![rows, features],
        [features] => vec![1, features],
        _ => return tensor,
    };
    tensor.map(shape, <[f32]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tensors: &Tensors, name: &str) -> Vec<f32> {
        tensors.get(name).unwrap_or_else(|| panic!("no {name}")).read().unwrap().into_owned()
    }

    fn given(tensors: &[(&str, &[usize], &[f32])]) -> Tensors {
        tensors.iter().map(|(name, shape, elements)| (*name, Tensor::new(*shape, elements.to_vec()))).collect()
    }

    #[test]
    fn weight_normalization_scales_rows_columns_or_all() {
        let v: (&[usize], &[f32]) = (&[2, 2], &[3.0, 4.0, 0.0, 2.0]);
        for (g, scales, wanted) in [
            (&[2, 1][..], &[10.0, 3.0][..], [6.0, 8.0, 0.0, 3.0]),
            (&[1, 2], &[1.0, 5.0], [1.0, 4.472_136, 0.0, 2.236_068]),
            (&[], &[1.0], [0.557_086_05, 0.742_781_4, 0.0, 0.371_390_7]),
        ] {
            for names in [
                ["a.weight_g", "a.weight_v"],
                ["a.parametrizations.weight.original0", "a.parametrizations.weight.original1"],
            ] {
                let mut tensors = given(&[(names[0], g, scales), (names[1], v.0, v.1)]);
                resolve(&mut tensors);
                assert_eq!(tensors.names().collect::<Vec<_>>(), ["a.weight"]);
                for (got, wanted) in read(&tensors, "a.weight").iter().zip(wanted) {
                    assert!((got - wanted).abs() <= 1e-6, "{got} {wanted}");
                }
            }
        }
    }

    #[test]
    fn what_looks_like_it_and_is_not_stays() {
        let one: (&[usize], &[f32]) = (&[1], &[1.0]);
        for names in [["a.weight_g", "a.weight_w"], ["a.gain_g", "a.gain_v"], ["a.original0", "a.original1"]] {
            let mut tensors = given(&names.map(|name| (name, one.0, one.1)));
            let before = tensors.clone();
            resolve(&mut tensors);
            assert_eq!(tensors, before);
        }
        let mut misshapen = given(&[("weight_g", &[3, 1], &[1.0; 3]), ("weight_v", &[2, 1], &[1.0; 2])]);
        let before = misshapen.clone();
        resolve(&mut misshapen);
        assert_eq!(misshapen, before);
    }

    #[test]
    fn weight_drop_keeps_the_weight_beside_the_module_or_in_it() {
        let one = |name: &'static str, x: f32| (name, Tensor::new([1], vec![x]));
        let hidden = "rnn.module.weight_hh_l0";
        for raw in ["rnn.weight_hh_l0_raw", "rnn.module.weight_hh_l0_raw"] {
            let mut tensors: Tensors = [one(raw, 1.0), one("rnn.module.weight_ih_l0", 2.0)].into_iter().collect();
            if raw.starts_with("rnn.weight") {
                tensors.insert(hidden, Tensor::new([1], vec![9.0]));
            }
            resolve(&mut tensors);
            assert_eq!(tensors.names().collect::<Vec<_>>(), [hidden, "rnn.module.weight_ih_l0"]);
            assert_eq!(read(&tensors, hidden), [1.0]);
        }
        let mut alone: Tensors = [one("weight_hh_l0_raw", 1.0)].into_iter().collect();
        resolve(&mut alone);
        assert_eq!(read(&alone, "weight_hh_l0"), [1.0]);
    }
}
