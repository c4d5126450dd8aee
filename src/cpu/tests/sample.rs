//! `sample`, and the random numbers of its draws.

use super::*;
use crate::kernel::{Draw, NO_TOKEN};
use crate::random::{gumbel, threefry};

#[test]
fn threefry_gives_random123s_known_answers() {
    let known = [
        ([0; 2], [0; 2], [0x6b20_0159, 0x99ba_4efe]),
        ([u32::MAX; 2], [u32::MAX; 2], [0x1cb9_96fc, 0xbb00_2be7]),
        ([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3], [0xc492_3a9c, 0x483d_f7a0]),
    ];
    for (key, [counter, index], words) in known {
        let mut indices = [index.wrapping_sub(7); LANES];
        indices.iter_mut().zip(0..).for_each(|(index, lane)| *index = index.wrapping_add(lane));
        let [first, second] = threefry(key, counter, indices);
        assert_eq!([first[7], second[7]], words);
        assert_ne!(first[6], first[7]);
    }
}

#[test]
fn gumbel_numbers_keep_their_digits_to_both_ends() {
    let near = |bits: u32| (0..16_u32).map(move |i| bits.wrapping_add(i).wrapping_sub(8));
    let ends = [0, 1 << 8, 1 << 23, 1 << 24, 1 << 30, 1 << 31, 0x9e37_79b9, 0xa1b2_c3d4, 0xff00_0000];
    let mut worst = 0.0_f64;
    for bits in ends.into_iter().map(|bits| near(bits).collect::<Vec<u32>>()) {
        let got = gumbel::<LANES>(bits.clone().try_into().unwrap());
        for (got, bits) in got.into_iter().zip(bits) {
            let w = (f64::from(bits) + 0.5) / 2.0_f64.powi(32);
            let want = -(-(-w).ln_1p()).ln();
            worst = worst.max((f64::from(got) - want).abs() / want.abs().max(1.0));
        }
    }
    assert!(worst < 4e-7, "{worst}");
}

/// Returns the tokens drawn from `logits`, rows of `features` numbers
/// padded to `units`, at step 1 of a batch with one row for each draw.
fn drawn(logits: &[f32], features: u32, units: u32, draws: &[Draw]) -> Vec<u32> {
    let batch = u32::try_from(draws.len()).unwrap();
    let params = Params {
        rows: batch,
        batch,
        directions: 1,
        units,
        features,
        source_0: 0,
        target_0: 2 * batch,
        ..Params::default()
    };
    let bound = vec![
        ("source", Data::Floats(logits.to_vec())),
        ("draws", Data::Indices(bytemuck::cast_slice(draws).to_vec())),
        ("tokens", Data::Indices(vec![9; 3 * draws.len()])),
    ];
    let (mut plan, feeds, packed) = Case { program: Program::Sample, params, sides: 1, bound }.plan();
    plan.reads = vec![Read { fetch: Fetch::Tokens, slot: 2, offset: 0, bytes: plan.slots[2].bytes }];
    let mut cpu = Cpu::new(packed).unwrap();
    let mut all: Vec<Vec<u32>> = Vec::new();
    for arch in instruction_sets() {
        cpu.arch = arch;
        let read = reads(&cpu, &plan, &feeds).unwrap().remove(0);
        let words: Vec<u32> = bytemuck::cast_slice(&read).to_vec();
        let (before, rest) = words.split_at(MARGIN + 2 * draws.len());
        let (tokens, after) = rest.split_at(draws.len());
        assert!(before[MARGIN..].iter().all(|&token| token == 9), "tokens of other steps are left alone");
        assert!(before[..MARGIN].iter().chain(after).all(|&word| word == u32::MAX), "margins are left alone");
        all.push(tokens.to_vec());
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "every instruction set draws the same: {all:?}");
    all.remove(0)
}

#[test]
#[allow(clippy::cast_possible_truncation, reason = "logits in few digits")]
fn draws_are_as_frequent_as_the_softmax_says() {
    let probabilities = [0.5_f64, 0.2, 0.3, 0.0];
    for (temperature, share) in [(1.0, probabilities), (0.5, [25.0 / 38.0, 4.0 / 38.0, 9.0 / 38.0, 0.0])] {
        let row: Vec<f32> = (0..16).map(|v| probabilities.get(v).map_or(9.0, |p| (p.ln() + 4.0) as f32)).collect();
        let draws: Vec<Draw> =
            (0..20_000).map(|seed_low| Draw { seed_low, temperature, position: 5, ..Draw::default() }).collect();
        let mut counts = [0_u32; 4];
        drawn(&row.repeat(draws.len()), 4, 16, &draws).into_iter().for_each(|token| counts[token as usize] += 1);
        for (count, share) in counts.into_iter().zip(share) {
            // Five standard deviations of a binomial at p = 1/2.
            assert!((f64::from(count) / 20_000.0 - share).abs() < 5.0 * 0.0036, "{counts:?} at {temperature}");
        }
    }
}

#[test]
fn nothing_is_drawn_beside_the_likeliest_and_those_as_likely_as_the_last_of_them() {
    let row = noise(3, 64);
    let mut sorted: Vec<f32> = row[..50].to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    for top_k in [1, 2, 7, 49, 50, 51] {
        let draws: Vec<Draw> =
            (0..600).map(|position| Draw { position, temperature: 5.0, top_k, ..Draw::default() }).collect();
        let mut seen = drawn(&row.repeat(draws.len()), 50, 64, &draws);
        seen.sort_unstable();
        seen.dedup();
        let least = sorted[(top_k as usize).min(50) - 1];
        assert!(seen.iter().all(|&token| row[token as usize] >= least), "{top_k}: {seen:?}");
        assert!(seen.len() >= (top_k as usize).min(45), "{top_k}: {seen:?}");
    }
    let equals = [0.5, 2.0, 1.0, 1.0, -0.0, 0.0, 1.0, -3.0].repeat(2);
    let draws: Vec<Draw> =
        (0..200).map(|seed_high| Draw { seed_high, temperature: 9.0, top_k: 2, ..Draw::default() }).collect();
    let mut seen = drawn(&equals.repeat(draws.len()), 8, 16, &draws);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 2, 3, 6]);
}

#[test]
fn temperature_zero_takes_the_first_of_the_likeliest() {
    let rows = [[-1.0_f32, 3.0, 2.0, 3.0], [-0.0, -5.0, 0.0, -1.0], [-1e30, -2.0, f32::NEG_INFINITY, -2.0]];
    let padded: Vec<f32> = rows.iter().flat_map(|row| row.iter().copied().chain([f32::NAN; 12])).collect();
    assert_eq!(drawn(&padded, 4, 16, &[Draw::default(); 3]), [1, 0, 1]);
}

#[test]
fn a_nan_is_no_token_and_neither_is_minus_infinity() {
    let infinity = f32::INFINITY;
    let rows =
        [[0.0, f32::NAN, 1.0, 2.0], [0.0, -f32::NAN, infinity, 2.0], [-infinity; 4], [-infinity, 1.0, infinity, 0.0]];
    let padded: Vec<f32> = rows.iter().flat_map(|row| row.iter().copied().chain([0.0; 12])).collect();
    for draw in [Draw::default(), Draw { temperature: 1.0, top_k: 2, ..Draw::default() }] {
        assert_eq!(drawn(&padded, 4, 16, &[draw; 4]), [NO_TOKEN, NO_TOKEN, NO_TOKEN, 2]);
    }
}
