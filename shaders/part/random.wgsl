// Random numbers without a state, for four counters at a time: Threefry-2x32 with 20 rounds (Salmon,
// Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011). It has only additions,
// rotations and exclusive ors, so the bits are the same on every device and in src/random.rs.

// Both words of four counters.
struct Words {
    first: vec4<u32>,
    second: vec4<u32>,
}

fn one_round(x: Words, by: u32) -> Words {
    let first = x.first + x.second;
    return Words(first, ((x.second << vec4(by)) | (x.second >> vec4(32u - by))) ^ first);
}

fn four_rounds(x: Words, by: vec4<u32>) -> Words {
    return one_round(one_round(one_round(one_round(x, by.x), by.y), by.z), by.w);
}

fn add_key(x: Words, first: u32, second: u32) -> Words {
    return Words(x.first + vec4(first), x.second + vec4(second));
}

// Returns the first words of counters (counter, index) under a key.
fn random_bits(key: vec2<u32>, counter: u32, index: vec4<u32>) -> vec4<u32> {
    let odd = vec4(13u, 15u, 26u, 6u);
    let even = vec4(17u, 29u, 16u, 24u);
    let third = 0x1bd11bdau ^ key.x ^ key.y;
    var x = add_key(Words(vec4(counter), index), key.x, key.y);
    x = add_key(four_rounds(x, odd), key.y, third + 1u);
    x = add_key(four_rounds(x, even), third, key.x + 2u);
    x = add_key(four_rounds(x, odd), key.x, key.y + 3u);
    x = add_key(four_rounds(x, even), key.y, third + 4u);
    x = add_key(four_rounds(x, odd), third, key.x + 5u);
    return x.first;
}

// -ln(-ln(1 - w)) for w = (bits + 1/2) / 2^32: numbers of the standard Gumbel distribution, from -3.1 to 22.9.
fn gumbel(bits: vec4<u32>) -> vec4<f32> {
    let w = (vec4<f32>(bits) + 0.5) * 2.3283064365386963e-10;
    // 1 - w, for w so near 1 that the difference would lose its digits.
    let rest = (vec4<f32>(~bits) + 0.5) * 2.3283064365386963e-10;
    let exponential = select(-logarithm(rest), log_ratio(w / (2.0 - w)), bits < vec4(0x80000000u));
    return -logarithm(exponential);
}
