// One token for each row, drawn from its logits by one workgroup. See src/kernel/catalog.rs.
//
// Logits are compared as whole numbers in the same order, with
// NaN above all, so that no driver's comparison can lose one.
const WORKGROUP: u32 = 64u;

// The k-th largest logit is found digit by digit, four bits each, the highest first.
const DIGITS: u32 = 8u;
const DIGIT_BITS: u32 = 4u;
const DIGIT_VALUES: u32 = 16u;

const NO_TOKEN: u32 = 0xffffffffu;
// The keys of a NaN and of -infinity. Padding has 0, below all.
const NAN: u32 = 0xffffffffu;
const LOWEST: u32 = 0x007fffffu;

// The words of a draw: the members of Draw in src/kernel/draw.rs, where each is explained.
const SEED_LOW: u32 = 0u;
const SEED_HIGH: u32 = 1u;
const POSITION: u32 = 2u;
const TEMPERATURE: u32 = 3u;
const TOP_K: u32 = 4u;
const DRAW_WORDS: u32 = 5u;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][units]
@group(0) @binding(2) var<storage, read> draws: array<u32>; // [B][5]
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>; // [T + 1][B]

var<workgroup> best_keys: array<u32, WORKGROUP>;
var<workgroup> best_tokens: array<u32, WORKGROUP>;
var<workgroup> counts: array<atomic<u32>, DIGIT_VALUES>;

// Returns whole numbers in the order of x. Both zeros have the same one.
fn ordered(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let size = bits & vec4(0x7fffffffu);
    let key = select(bits | vec4(0x80000000u), ~bits, bits > vec4(0x7fffffffu));
    let number = select(key, vec4(0x80000000u), size == vec4(0u));
    return select(number, vec4(NAN), size > vec4(0x7f800000u));
}

// Returns the number whose key this is.
fn number(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, key > 0x7fffffffu));
}

// Returns the keys of tokens 4c ..= 4c + 3 of the row whose fours begin at row_at.
fn keys_of(row_at: u32, c: u32) -> vec4<u32> {
    return select(vec4(0u), ordered(source[row_at + c]), tokens_of(c) < vec4(params.features));
}

fn tokens_of(c: u32) -> vec4<u32> {
    return vec4(4u * c) + vec4(0u, 1u, 2u, 3u);
}

@compute @workgroup_size(WORKGROUP)
fn sample(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let fours = params.units / 4u;
    let row_at = (params.source_0 + group.y) * fours;
    let write_at = params.target_0 + group.y;
    let draw_at = (write_at % params.batch) * DRAW_WORDS;
    let step = write_at / params.batch - 1u;
    let kept = draws[draw_at + TOP_K];

    var highest = 0u;
    for (var c = lane; c < fours; c += WORKGROUP) {
        let keys = keys_of(row_at, c);
        highest = max(max(highest, max(keys.x, keys.y)), max(keys.z, keys.w));
    }
    best_keys[lane] = highest;
    // Makes every lane's highest visible to all.
    workgroupBarrier();
    for (var i = 0u; i < WORKGROUP; i++) {
        highest = max(highest, best_keys[i]);
    }

    // The key of the k-th largest logit, or 0 if all are kept.
    var least = 0u;
    var left = kept;
    let digits = select(0u, DIGITS, kept > 0u && kept < params.features);
    for (var digit = 0u; digit < digits; digit++) {
        let shift = (DIGITS - 1u - digit) * DIGIT_BITS;
        if lane < DIGIT_VALUES {
            atomicStore(&counts[lane], 0u);
        }
        // Makes the zeros visible to all lanes that count.
        workgroupBarrier();
        for (var c = lane; c < fours; c += WORKGROUP) {
            let keys = keys_of(row_at, c);
            // Only keys that begin with the digits so far count. (A shift by 32 would be none.)
            let alike = (((keys ^ vec4(least)) >> vec4(shift)) >> vec4(DIGIT_BITS)) == vec4(0u);
            let values = (keys >> vec4(shift)) & vec4(DIGIT_VALUES - 1u);
            if alike.x { atomicAdd(&counts[values.x], 1u); }
            if alike.y { atomicAdd(&counts[values.y], 1u); }
            if alike.z { atomicAdd(&counts[values.z], 1u); }
            if alike.w { atomicAdd(&counts[values.w], 1u); }
        }
        // Makes the counts visible to all.
        workgroupBarrier();
        var value = 0u;
        var found = false;
        for (var i = 0u; i < DIGIT_VALUES; i++) {
            let here = DIGIT_VALUES - 1u - i;
            let count = atomicLoad(&counts[here]);
            if !found && count >= left {
                found = true;
                value = here;
            }
            left = select(left - count, left, found);
        }
        least |= value << shift;
        // Keeps the next digit's zeros from overwriting counts that another lane still reads.
        workgroupBarrier();
    }

    var best = LOWEST;
    var token = NO_TOKEN;
    let seed = vec2(draws[draw_at + SEED_LOW], draws[draw_at + SEED_HIGH]);
    let counter = draws[draw_at + POSITION] + step;
    let temperature = bitcast<f32>(draws[draw_at + TEMPERATURE]);
    for (var c = lane; c < fours; c += WORKGROUP) {
        let keys = keys_of(row_at, c);
        let indices = tokens_of(c);
        // The highest logit is subtracted, so that even a small temperature changes the sum.
        let less = select(source[row_at + c] - number(highest), vec4(0.0), keys == vec4(highest));
        let noise = gumbel(random_bits(seed, counter, indices));
        let scores = ordered(less + temperature * noise);
        let chosen = select(vec4(0u), scores, (keys >= vec4(least)) & (keys > vec4(LOWEST)));
        if chosen.x > best { best = chosen.x; token = indices.x; }
        if chosen.y > best { best = chosen.y; token = indices.y; }
        if chosen.z > best { best = chosen.z; token = indices.z; }
        if chosen.w > best { best = chosen.w; token = indices.w; }
    }
    // Lanes still read the highest logit of all from here.
    workgroupBarrier();
    best_keys[lane] = best;
    best_tokens[lane] = token;
    // Makes every lane's best visible to the first.
    workgroupBarrier();
    if lane == 0u {
        for (var i = 1u; i < WORKGROUP; i++) {
            let is_better = best_keys[i] > best || (best_keys[i] == best && best_tokens[i] < token);
            best = select(best, best_keys[i], is_better);
            token = select(token, best_tokens[i], is_better);
        }
        tokens[write_at] = select(token, NO_TOKEN, highest == NAN);
    }
}
