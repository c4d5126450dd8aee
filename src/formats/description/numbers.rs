//! Numbers of a description: sizes that may be left out, and shares.

use super::UNTOLD;
use crate::cell::Constant;
use crate::error::Result;
use crate::formats::keys::{Keys, wrong};

/// Returns a size that may be left out. It may not be zero, which stands for one that is left out.
pub(super) fn told(size: Option<usize>, key: &str) -> Result<usize> {
    match size {
        Some(UNTOLD) => Err(wrong(format!("{key}: expected at least 1, got 0"))),
        size => Ok(size.unwrap_or(UNTOLD)),
    }
}

/// Takes a dropout rate: 0 to 1.
pub(super) fn share(keys: &mut Keys, key: &'static str) -> Result<Option<Constant>> {
    match keys.number(key)? {
        Some(share) if !(0.0..=1.0).contains(&share.get()) => {
            Err(wrong(format!("{key}: expected 0 to 1, got {share}")))
        }
        share => Ok(share),
    }
}
