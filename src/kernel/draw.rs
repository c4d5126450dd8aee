//! `Draw`: how one row's token is drawn. `shaders/kernel/sample.wgsl` has the same words, and a test compares them.

use bytemuck::{Pod, Zeroable};

/// The token of a row that has nothing to draw from: a logit is NaN, or none is more than −∞.
pub const NO_TOKEN: u32 = u32::MAX;

/// How the tokens of one row are drawn. This is data of a call, so plans do not depend on it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Draw {
    /// The low half of the random numbers' key.
    pub seed_low: u32,
    /// The high half of the key.
    pub seed_high: u32,
    /// The counter of the first step's random numbers; each further step adds one, modulo 2³².
    pub position: u32,
    /// The factor of the random numbers: 0 takes the likeliest token, and 1 draws as the softmax says.
    pub temperature: f32,
    /// How many of the likeliest tokens to draw from, and any that equal the last of them. 0 stands for all.
    pub top_k: u32,
}
