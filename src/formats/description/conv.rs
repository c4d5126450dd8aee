//! The layer `conv1d` of a description: a JSON object → `LayerKind`, and back.

use serde_json::Value;

use super::ordered::Json;
use super::words::{function_json, function_of, word};
use crate::error::Result;
use crate::formats::infer::{Inferred, Under, agree};
use crate::formats::keys::{Keys, wrong};
use crate::model::{Bias, Conv1d, ConvPadding, LayerKind};
use crate::weights::dialect::WEIGHT;

/// Reads a convolution. Sizes that are left out are inferred from the tensors.
pub(super) fn read(mut keys: Keys, under: &Under<'_>) -> Result<LayerKind> {
    let [inputs, outputs, taps, stride, dilation, groups, padding, bias, activation, all_steps] = Conv1d::KEYS;
    let (said_inputs, said_outputs, said_taps) = (keys.size(inputs)?, keys.size(outputs)?, keys.size(taps)?);
    let mut one = |key| keys.size(key).map(|size| size.unwrap_or(1));
    let (stride, dilation, groups) = (one(stride)?, one(dilation)?, one(groups)?);
    let padding = keys.take(padding).map(|value| padding_of(&value)).transpose()?.unwrap_or_default();
    let said_bias = keys.word(bias, &[(true, Bias::One), (false, Bias::None)])?;
    let activation = function_of(&mut keys, activation)?;
    let reads_all = keys.flag(all_steps)?.unwrap_or(false);
    keys.finish()?;
    let seen = under.kernel(WEIGHT)?;
    let seen_bias = seen.is_some().then(|| under.linear_bias()).transpose()?;
    let [seen_outputs, seen_inputs, seen_taps] = seen.map_or([None, None, None], |sizes| sizes.map(Some));
    // A kernel has the features of one group.
    let seen_inputs = seen_inputs.map(|seen| Inferred { value: seen.value.saturating_mul(groups), ..seen });
    let size = |key, said, seen| agree(key, said, seen, usize::clone)?.ok_or_else(|| under.untold_kernel(key));
    let mut conv = Conv1d::new(
        size(inputs, said_inputs, seen_inputs)?,
        size(outputs, said_outputs, seen_outputs)?,
        size(taps, said_taps, seen_taps)?,
    );
    (conv.stride, conv.dilation, conv.groups, conv.padding) = (stride, dilation, groups, padding);
    conv.bias = agree(bias, said_bias, seen_bias, |&bias| bias != Bias::None)?.unwrap_or(conv.bias);
    conv.activation = activation.unwrap_or(conv.activation);
    conv.all_steps = reads_all;
    Ok(conv.into())
}

/// Returns the padding that a word, a number of zeros or two numbers say.
fn padding_of(value: &Value) -> Result<ConvPadding> {
    let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    let list = value.as_array().map(Vec::as_slice);
    let meaning = match (number(value), list) {
        (Some(both), _) => Some(ConvPadding::Explicit(both, both)),
        (None, Some([before, after])) => {
            number(before).zip(number(after)).map(|(before, after)| ConvPadding::Explicit(before, after))
        }
        _ => ConvPadding::WORDS.iter().find(|(word, _)| value == word).map(|&(_, padding)| padding),
    };
    meaning.ok_or_else(|| {
        wrong(format!("padding: expected \"valid\", \"same\", \"causal\", a number or two of them, got {value}"))
    })
}

/// Returns the keys that [`read`] reads. Options at their defaults are left out.
pub(super) fn json(conv: &Conv1d) -> Vec<(&'static str, Json)> {
    let [inputs, outputs, taps, stride, dilation, groups, padding, bias, activation, all_steps] = Conv1d::KEYS;
    let sizes = [(inputs, conv.in_features), (outputs, conv.out_features), (taps, conv.kernel_size)];
    let mut keys: Vec<_> = sizes.map(|(key, size)| (key, Json::from(size))).into();
    let more = [(stride, conv.stride), (dilation, conv.dilation), (groups, conv.groups)];
    keys.extend(more.into_iter().filter(|(_, size)| *size != 1).map(|(key, size)| (key, Json::from(size))));
    match conv.padding {
        ConvPadding::Valid => {}
        ConvPadding::Explicit(before, after) => keys.push((padding, Json::list([before, after], Json::from))),
        of_word @ (ConvPadding::Same | ConvPadding::Causal) => {
            keys.push((padding, word(&ConvPadding::WORDS, &of_word)));
        }
    }
    keys.push((bias, Json::from(conv.bias != Bias::None)));
    keys.push((activation, function_json(conv.activation)));
    keys.extend(conv.all_steps.then(|| (all_steps, Json::from(true))));
    keys
}
