//! Random numbers without a state: Threefry-2x32 with 20 rounds (Salmon, Moraes,
//! Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011), and numbers
//! of the Gumbel distribution made of them. The twin of `shaders/part/random.wgsl`.
//!
//! N counters are drawn at a time, in plain loops that compile to the widest registers of
//! the caller that inlines them. The words are a GPU's, bit for bit. The logarithms are
//! computed in the same order, but a driver may fuse operations that are separate here.

/// The rotations of four rounds, in turn.
const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];

/// Returns both words that counters `(counter, index)` give under `key`.
#[inline(always)]
pub(crate) fn threefry<const N: usize>(key: [u32; 2], counter: u32, index: [u32; N]) -> [[u32; N]; 2] {
    let keys = [key[0], key[1], 0x1bd1_1bda ^ key[0] ^ key[1]];
    let [mut first, mut second] = [[counter; N], index];
    for group in 0..=5 {
        for (a, b) in first.iter_mut().zip(&mut second) {
            *a = a.wrapping_add(keys[group % 3]);
            *b = b.wrapping_add(keys[(group + 1) % 3]).wrapping_add(GROUPS[group]);
        }
        if group < 5 {
            for by in ROTATIONS[group % 2] {
                for (a, b) in first.iter_mut().zip(&mut second) {
                    *a = a.wrapping_add(*b);
                    *b = b.rotate_left(by) ^ *a;
                }
            }
        }
    }
    [first, second]
}

/// What is added with each part of the key.
const GROUPS: [u32; 6] = [0, 1, 2, 3, 4, 5];

/// Returns `−ln(−ln(1 − w))` for `w = (bits + 1/2) / 2³²`: numbers
/// of the standard Gumbel distribution, from −3.1 to 22.9.
#[inline(always)]
pub(crate) fn gumbel<const N: usize>(bits: [u32; N]) -> [f32; N] {
    bits.map(|bits| {
        let unit = |bits: u32| (bits as f32 + 0.5) * 2.328_306_4e-10;
        let (w, rest) = (unit(bits), unit(!bits));
        // If w is near 1, the difference 1 − w would lose digits; if it is near 0, its logarithm would.
        let exponential = if bits < 1 << 31 { log_ratio(w / (2.0 - w)) } else { -logarithm(rest) };
        -logarithm(exponential)
    })
}

/// Returns `ln((1 + s) / (1 − s))` for |s| ≤ 1/3 by its series to s¹³.
#[inline(always)]
fn log_ratio(s: f32) -> f32 {
    let q = s * s;
    2.0 * s
        * (1.0
            + q * (0.333_333_33
                + q * (0.2 + q * (0.142_857_14 + q * (0.111_111_11 + q * (0.090_909_09 + q * 0.076_923_08))))))
}

/// Returns `ln(x)` for positive, normal x: x = 2ⁿ m with m between 0.7071 and 1.4142.
#[inline(always)]
fn logarithm(x: f32) -> f32 {
    let bits = x.to_bits();
    let exponent = bits.wrapping_sub(0x3f35_04f3).cast_signed() >> 23;
    let m = f32::from_bits(bits.wrapping_sub((exponent << 23).cast_unsigned()));
    let n = exponent as f32;
    n * 0.693_359_4 + (log_ratio((m - 1.0) / (m + 1.0)) - n * 2.121_944_4e-4)
}
