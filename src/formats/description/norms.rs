//! The layers of a description that normalise: a JSON object → `LayerKind`, and back.

use super::ordered::Json;
use crate::cell::Constant;
use crate::error::Result;
use crate::formats::infer::{Inferred, Under, agree};
use crate::formats::keys::Keys;
use crate::model::{BIAS, BatchNorm, L2Norm, LayerKind, LayerNorm, MEAN, PRelu, RmsNorm, WEIGHT};

/// What the tensors tell of a layer.
struct Seen {
    features: Option<Inferred<usize>>,
    scale: Option<Inferred<bool>>,
    bias: Option<Inferred<bool>>,
}

impl Seen {
    fn of(under: &Under<'_>) -> Result<Self> {
        let mut features = None;
        for local in [WEIGHT, BIAS, MEAN] {
            features = features.or(under.vector(local)?);
        }
        let there = |local| features.is_some().then(|| under.there(local)).transpose();
        Ok(Self { scale: there(WEIGHT)?, bias: there(BIAS)?, features })
    }
}

/// Reads a layer of type `name`. Sizes that are left out are inferred from the tensors.
pub(super) fn read(name: &str, mut keys: Keys, under: &Under<'_>) -> Result<LayerKind> {
    let kind = match name {
        "batch_norm" => {
            let [features, eps, scale, bias, frozen] = BatchNorm::KEYS;
            let seen = Seen::of(under)?;
            let mut norm = BatchNorm::new(size(&mut keys, features, seen.features, under)?);
            norm.eps = keys.number(eps)?.unwrap_or(norm.eps);
            norm.scale = flag(&mut keys, scale, seen.scale)?;
            norm.bias = flag(&mut keys, bias, seen.bias)?;
            norm.frozen = keys.flag(frozen)?.unwrap_or(false);
            norm.into()
        }
        "layer_norm" => {
            let [features, eps, scale, bias] = LayerNorm::KEYS;
            let seen = Seen::of(under)?;
            let mut norm = LayerNorm::new(size(&mut keys, features, seen.features, under)?);
            norm.eps = keys.number(eps)?.unwrap_or(norm.eps);
            norm.scale = flag(&mut keys, scale, seen.scale)?;
            norm.bias = flag(&mut keys, bias, seen.bias)?;
            norm.into()
        }
        "rms_norm" => {
            let [features, eps, scale] = RmsNorm::KEYS;
            let seen = Seen::of(under)?;
            let mut norm = RmsNorm::new(size(&mut keys, features, seen.features, under)?);
            norm.eps = keys.number(eps)?.unwrap_or(norm.eps);
            norm.scale = flag(&mut keys, scale, seen.scale)?;
            norm.into()
        }
        "l2_norm" => {
            let [features, eps] = L2Norm::KEYS;
            let mut norm = L2Norm::new(size(&mut keys, features, None, under)?);
            norm.eps = keys.number(eps)?.unwrap_or(norm.eps);
            norm.into()
        }
        _ => prelu(&mut keys, under)?,
    };
    keys.finish()?;
    Ok(kind)
}

/// Reads a PReLU. One number may serve all features, and then it does not tell how many there are.
fn prelu(keys: &mut Keys, under: &Under<'_>) -> Result<LayerKind> {
    let [features, shared] = PRelu::KEYS;
    let seen = under.vector(WEIGHT)?;
    let said = keys.size(features)?;
    let one = seen.as_ref().is_some_and(|seen| seen.value == 1) && said != Some(1);
    let told_by = seen.as_ref().map(|seen| seen.told_by.clone());
    let size = agree(features, said, seen.filter(|_| !one), usize::clone)?;
    let size = size.ok_or_else(|| under.untold_by_weight(features))?;
    let shares = told_by.map(|told_by| Inferred { value: one, told_by });
    let shares = agree(shared, keys.flag(shared)?, shares, bool::clone)?.unwrap_or(false);
    Ok(if shares { PRelu::new(size).shared() } else { PRelu::new(size) }.into())
}

fn size(keys: &mut Keys, key: &'static str, seen: Option<Inferred<usize>>, under: &Under<'_>) -> Result<usize> {
    let said = keys.size(key)?;
    agree(key, said, seen, usize::clone)?.ok_or_else(|| under.untold_by_weight(key))
}

fn flag(keys: &mut Keys, key: &'static str, seen: Option<Inferred<bool>>) -> Result<bool> {
    let said = keys.flag(key)?;
    Ok(agree(key, said, seen, bool::clone)?.unwrap_or(true))
}

/// Returns the keys that [`read`] reads.
pub(super) fn json(kind: &LayerKind) -> Vec<(&'static str, Json)> {
    let pairs = |keys: &[&'static str], values: Vec<Json>| keys.iter().copied().zip(values).collect();
    let numbers = |features: usize, eps: Constant| vec![Json::from(features), Json::number(eps)];
    let with = |mut values: Vec<Json>, flags: &[bool]| {
        values.extend(flags.iter().map(|&flag| Json::from(flag)));
        values
    };
    match kind {
        LayerKind::BatchNorm(n) => {
            pairs(&BatchNorm::KEYS, with(numbers(n.features, n.eps), &[n.scale, n.bias, n.frozen]))
        }
        LayerKind::LayerNorm(n) => pairs(&LayerNorm::KEYS, with(numbers(n.features, n.eps), &[n.scale, n.bias])),
        LayerKind::RmsNorm(n) => pairs(&RmsNorm::KEYS, with(numbers(n.features, n.eps), &[n.scale])),
        LayerKind::L2Norm(n) => pairs(&L2Norm::KEYS, numbers(n.features, n.eps)),
        LayerKind::PRelu(n) => pairs(&PRelu::KEYS, vec![Json::from(n.features), Json::from(n.shared)]),
        _ => Vec::new(),
    }
}
