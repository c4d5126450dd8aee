//! The layer `attention` of a description: a JSON object → `Attention`, and back.

use super::ordered::Json;
use super::words::word;
use crate::error::Result;
use crate::formats::infer::{Under, agree};
use crate::formats::keys::Keys;
use crate::model::{Attention, LayerKind, Scores};
use crate::weights::dialect::WEIGHT;

/// Reads the layer. Its features are inferred from its weight if they are left out.
pub(super) fn read(mut keys: Keys, under: &Under<'_>) -> Result<LayerKind> {
    let [features, scores, scale, weight, causal] = Attention::KEYS;
    let said = keys.size(features)?;
    let of = keys.word(scores, &Scores::WORDS)?.unwrap_or_default();
    let scale = keys.number(scale)?;
    let weight = keys.flag(weight)?.unwrap_or(of == Scores::Additive);
    let causal = keys.flag(causal)?.unwrap_or(false);
    keys.finish()?;
    let seen = if weight { under.matrix(WEIGHT)?.map(|[_, columns]| columns) } else { None };
    // Given scores have one feature.
    let usual = (of == Scores::Given).then_some(1);
    let size = agree(features, said, seen, usize::clone)?.or(usual).ok_or_else(|| under.untold_by_weight(features))?;
    Ok(Attention { features: size, scores: of, scale, weight, causal }.into())
}

/// Returns the keys that [`read`] reads.
pub(super) fn json(attention: &Attention) -> Vec<(&'static str, Json)> {
    let [features, scores, scale, weight, causal] = Attention::KEYS;
    let mut keys = vec![(features, Json::from(attention.features)), (scores, word(&Scores::WORDS, &attention.scores))];
    keys.extend(attention.scale.map(|factor| (scale, Json::number(factor))));
    keys.extend((attention.scores == Scores::Additive).then(|| (weight, Json::from(attention.weight))));
    keys.extend(attention.causal.then(|| (causal, Json::from(true))));
    keys
}
