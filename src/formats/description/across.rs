//! The layers of a description between steps and rows: a JSON object → `Layer`, and back.

use super::ordered::Json;
use super::words::word;
use crate::error::Result;
use crate::formats::keys::{Keys, wrong};
use crate::model::{
    Flatten, GlobalPool, LayerKind, PadMode, PadSteps, Permute, PoolPadding, Reduce, Repeat, Reshape, WindowPool,
};

/// Reads the layer `name`.
pub(super) fn read(name: &str, mut keys: Keys) -> Result<LayerKind> {
    let kind = match name {
        "global_pool" => {
            let [reduce, all_steps] = GlobalPool::KEYS;
            let pool = GlobalPool::new(keys.needed_word(reduce, &Reduce::WORDS)?);
            if keys.flag(all_steps)?.unwrap_or(false) { pool.all_steps() } else { pool }.into()
        }
        "window_pool" => window_pool(&mut keys)?.into(),
        "pad_steps" => {
            let [mode, before, after] = PadSteps::KEYS;
            let mode = keys.needed_word(mode, &PadMode::WORDS)?;
            PadSteps::new(mode, keys.size(before)?.unwrap_or(0), keys.size(after)?.unwrap_or(0)).into()
        }
        "repeat" => Repeat::new(needed(&mut keys, Repeat::KEYS[0])?).into(),
        "flatten" => Flatten::new(needed(&mut keys, Flatten::KEYS[0])?).into(),
        "reshape" => {
            let [steps, features] = Reshape::KEYS;
            Reshape::new(needed(&mut keys, steps)?, needed(&mut keys, features)?).into()
        }
        _ => {
            let [steps, features] = Permute::KEYS;
            Permute::new(needed(&mut keys, steps)?, needed(&mut keys, features)?).into()
        }
    };
    keys.finish()?;
    Ok(kind)
}

fn window_pool(keys: &mut Keys) -> Result<WindowPool> {
    let [reduce, size, stride, dilation, padding, before, after, ceil, counts_padding, all_steps] = WindowPool::KEYS;
    let mut pool = WindowPool::new(keys.needed_word(reduce, &Reduce::WORDS)?, needed(keys, size)?);
    pool.stride = keys.size(stride)?.unwrap_or(pool.size);
    pool.dilation = keys.size(dilation)?.unwrap_or(1);
    pool.padding = keys.word(padding, &PoolPadding::WORDS)?.unwrap_or(PoolPadding::NONE);
    match (pool.padding, keys.size(before)?, keys.size(after)?) {
        (_, None, None) => {}
        (PoolPadding::Around { .. }, start, end) => {
            pool.padding = PoolPadding::Around { before: start.unwrap_or(0), after: end.unwrap_or(0) };
        }
        (PoolPadding::Same | PoolPadding::SameStart, ..) => {
            return Err(wrong(format!(
                "{padding}: expected none besides {before} and {after}, got one that tells them"
            )));
        }
    }
    pool.ceil = keys.flag(ceil)?.unwrap_or(false);
    pool.counts_padding = keys.flag(counts_padding)?.unwrap_or(false);
    pool.all_steps = keys.flag(all_steps)?.unwrap_or(false);
    Ok(pool)
}

fn needed(keys: &mut Keys, key: &'static str) -> Result<usize> {
    keys.size(key)?.ok_or_else(|| wrong(format!("{key}: expected a number, got nothing")))
}

/// Returns the keys that [`read`] reads, besides the name; none for any other layer.
pub(super) fn json(kind: &LayerKind) -> Vec<(&'static str, Json)> {
    let sizes = |keys: &[&'static str], sizes: &[usize]| -> Vec<(&'static str, Json)> {
        keys.iter().copied().zip(sizes.iter().map(|&size| Json::from(size))).collect()
    };
    match kind {
        LayerKind::GlobalPool(pool) => {
            let [reduce, all_steps] = GlobalPool::KEYS;
            let mut keys = vec![(reduce, word(&Reduce::WORDS, &pool.reduce))];
            keys.extend(pool.all_steps.then(|| (all_steps, Json::from(true))));
            keys
        }
        LayerKind::WindowPool(pool) => {
            let [reduce, size, stride, dilation, padding, before, after, ceil, counts_padding, all_steps] =
                WindowPool::KEYS;
            let mut keys = vec![(reduce, word(&Reduce::WORDS, &pool.reduce))];
            keys.extend(sizes(&[size, stride], &[pool.size, pool.stride]));
            keys.extend((pool.dilation != 1).then(|| (dilation, Json::from(pool.dilation))));
            match pool.padding {
                PoolPadding::NONE => {}
                PoolPadding::Around { before: start, after: end } => {
                    keys.extend(sizes(&[before, after], &[start, end]));
                }
                same => keys.push((padding, word(&PoolPadding::WORDS, &same))),
            }
            let flags = [(ceil, pool.ceil), (counts_padding, pool.counts_padding), (all_steps, pool.all_steps)];
            keys.extend(flags.into_iter().filter(|(_, flag)| *flag).map(|(key, flag)| (key, Json::from(flag))));
            keys
        }
        LayerKind::PadSteps(pad) => {
            let [mode, before, after] = PadSteps::KEYS;
            let mut keys = vec![(mode, word(&PadMode::WORDS, &pad.mode))];
            keys.extend(sizes(&[before, after], &[pad.before, pad.after]));
            keys
        }
        LayerKind::Repeat(repeat) => sizes(&Repeat::KEYS, &[repeat.count]),
        LayerKind::Flatten(flatten) => sizes(&Flatten::KEYS, &[flatten.steps]),
        LayerKind::Reshape(reshape) => sizes(&Reshape::KEYS, &[reshape.steps, reshape.features]),
        LayerKind::Permute(permute) => sizes(&Permute::KEYS, &[permute.steps, permute.features]),
        _ => Vec::new(),
    }
}
