//! `sample`: one token for each row, drawn from its logits.
//!
//! Logits are compared as whole numbers in the same order, as on
//! a GPU. So ties, zeros and NaN have the same meaning there.

use pulp::{Arch, Simd, WithSimd};

use super::buffers::Bound;
use super::threads;
use super::tune::LOGIT_NS;
use crate::kernel::{Draw, LANES, NO_TOKEN, Params, Role};
use crate::platform::parallel::*;
use crate::random::{gumbel, threefry};

/// The key of a NaN: above all others.
const NAN: u32 = u32::MAX;
/// The key of −∞: below all others.
const LOWEST: u32 = 0x007f_ffff;

/// The lanes of a block.
const ALL: [u32; LANES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The k-th largest logit is found digit by digit, four bits each, the highest first.
const DIGIT_BITS: u32 = 4;

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(params: &Params) -> usize {
    params.rows as usize * params.features as usize * LOGIT_NS
}

/// Draws one token for each row.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>) {
    let p = *bound.params;
    let (rows, width, features) = (p.rows as usize, p.units as usize, p.features as usize);
    bound.write_indices(Role::Tokens, |bound, tokens| {
        let source = &bound.floats(Role::Source)[p.source_0 as usize * width..][..rows * width];
        let draws: &[Draw] = bytemuck::cast_slice(bound.indices(Role::Draws));
        // `[T + 1][B]`: the first row has tokens that were given.
        let token = |at: u32| {
            let (m, draw) = ((at - p.target_0) as usize, draws[(at % p.batch) as usize]);
            let counter = draw.position.wrapping_add(at / p.batch - 1);
            arch.dispatch(Row { logits: &source[m * width..][..features], draw, counter })
        };
        let places = p.target_0..p.target_0 + p.rows;
        let target = &mut tokens[p.target_0 as usize..][..rows];
        let threads = threads::worth(ns(&p));
        if threads == 1 {
            target.iter_mut().zip(places).for_each(|(to, at)| *to = token(at));
        } else {
            let rows = rows.div_ceil(2 * threads);
            let each = target.par_iter_mut().zip(places).with_min_len(rows);
            each.for_each(|(to, at)| *to = token(at));
        }
    });
}

/// The draw of one row.
struct Row<'a> {
    logits: &'a [f32],
    draw: Draw,
    /// The counter of its random numbers.
    counter: u32,
}

impl WithSimd for Row<'_> {
    type Output = u32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> u32 {
        let Self { logits, draw, counter } = self;
        let highest = logits.iter().fold(0, |highest, &x| ordered(x).max(highest));
        if highest == NAN {
            return NO_TOKEN;
        }
        let kept = draw.top_k as usize;
        let least = if (1..logits.len()).contains(&kept) { kth(logits, draw.top_k) } else { 0 };
        let (key, most) = ([draw.seed_low, draw.seed_high], number(highest));
        let mut best = (LOWEST, NO_TOKEN);
        for (first, logits) in (0_u32..).step_by(LANES).zip(logits.chunks(LANES)) {
            let mut scores = [0.0; LANES];
            if draw.temperature > 0.0 {
                let noise = gumbel(threefry(key, counter, ALL.map(|lane| first + lane))[0]);
                scores = noise.map(|noise| draw.temperature * noise);
            }
            for ((token, &x), score) in (first..).zip(logits).zip(scores) {
                // The highest logit is subtracted, so that even a small temperature changes the sum.
                let less = if ordered(x) == highest { 0.0 } else { x - most };
                let score = ordered(less + score);
                if score > best.0 && ordered(x) >= least && ordered(x) > LOWEST {
                    best = (score, token);
                }
            }
        }
        best.1
    }
}

/// Returns whole numbers in the order of x. Both zeros have the same one.
#[inline(always)]
fn ordered(x: f32) -> u32 {
    let bits = x.to_bits();
    match bits & 0x7fff_ffff {
        0 => 0x8000_0000,
        size if size > 0x7f80_0000 => NAN,
        _ if bits >> 31 == 1 => !bits,
        _ => bits | 0x8000_0000,
    }
}

/// Returns the number whose key this is.
#[inline(always)]
fn number(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & 0x7fff_ffff } else { !key })
}

/// Returns the key of the k-th largest of at least k logits.
#[inline(always)]
fn kth(logits: &[f32], k: u32) -> u32 {
    let (mut least, mut left) = (0, k);
    for digit in (0..32 / DIGIT_BITS).rev() {
        let shift = digit * DIGIT_BITS;
        let mut counts = [0_u32; 1 << DIGIT_BITS];
        for key in logits.iter().map(|&x| ordered(x)) {
            // Only keys that begin with the digits so far count.
            if ((key ^ least) >> shift) >> DIGIT_BITS == 0 {
                counts[(key >> shift) as usize % counts.len()] += 1;
            }
        }
        let mut value = (1 << DIGIT_BITS) - 1;
        while value > 0 && counts[value as usize] < left {
            left -= counts[value as usize];
            value -= 1;
        }
        least |= value << shift;
    }
    least
}
