//! `Draw`: how one row's token is drawn. Its words by name in `shaders/kernel/sample.wgsl`; a test compares them.

use bytemuck::{Pod, Zeroable};

/// What is drawn where there is nothing to draw from: a logit is NaN, or none is more than −∞.
pub const NO_TOKEN: u32 = u32::MAX;

/// How one row's tokens are drawn: data of a call, so that plans know nothing of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Draw {
    /// The key of the random numbers, its low half.
    pub seed_low: u32,
    /// Its high half.
    pub seed_high: u32,
    /// The counter of the first step's random numbers; each further step adds one, modulo 2³².
    pub position: u32,
    /// What the random numbers are multiplied by: 0 takes the likeliest, 1 draws as the softmax says.
    pub temperature: f32,
    /// How many of the likeliest tokens are drawn from, and with the last of them those of equal logits; 0: all.
    pub top_k: u32,
}
