// What the workgroups of a dispatch hand each other. WGSL promises them no order of stores, so each word tells by itself
// whether it is there: EMPTY, a NaN that no state is stored as, stands where nothing is yet, and every step has words of
// its own. Nor are they promised to run side by side, so nobody waits for ever: who gives up says so, and goes on with
// wrong numbers, for which the host has no use then.
@group(0) @binding(6) var<storage, read_write> exchange: array<atomic<u32>>; // [1 + D · steps · B][H]

const EMPTY: u32 = 0xffffffffu;
const OTHER_NAN: u32 = 0x7fc00000u;

// Word 0: EMPTY, or another where an invocation gave up.
const GAVE_UP: u32 = 0u;

// Turns of waiting, sixteen looks each, that a workgroup has in all, and how many of them are gone: of invocations that
// wait together, the longest wait. Invocation 0 begins with `waited = 0`.
const PATIENCE: u32 = 49152u;

var<workgroup> waited: atomic<u32>;

// The first word of step `step` of row `i` of the tile.
fn handed_at(p: Place, step: u32, i: u32) -> u32 {
    return (1u + (p.z * params.steps + step) * params.batch + batch_row(p, i)) * params.units;
}

fn hand_on(at: u32, state: vec4<u32>) {
    let words = select(state, vec4(OTHER_NAN), state == vec4(EMPTY));
    atomicStore(&exchange[at], words.x);
    atomicStore(&exchange[at + 1u], words.y);
    atomicStore(&exchange[at + 2u], words.z);
    atomicStore(&exchange[at + 3u], words.w);
}

// The word, where it is not known yet. A plain load could be taken for the one before it, and left out.
fn look(at: u32, known: u32) -> u32 {
    if known == EMPTY {
        return atomicOr(&exchange[at], 0u);
    }
    return known;
}

fn look_4(at: u32, known: u32) -> u32 {
    return look(at, look(at, look(at, look(at, known))));
}

// A turn of waiting for the first of four words that is not there; then, what there is of all of them.
fn wait_turn(at: u32, known: vec4<u32>) -> vec4<u32> {
    let first = at + select(select(select(3u, 2u, known.z == EMPTY), 1u, known.y == EMPTY), 0u, known.x == EMPTY);
    let word = look_4(first, look_4(first, look_4(first, look_4(first, EMPTY))));
    if word == EMPTY {
        return known;
    }
    return vec4(look(at, known.x), look(at + 1u, known.y), look(at + 2u, known.z), look(at + 3u, known.w));
}

// Four words from `at` on, once they are there.
fn wait_for(at: u32) -> vec4<u32> {
    var words = vec4(
        atomicLoad(&exchange[at]),
        atomicLoad(&exchange[at + 1u]),
        atomicLoad(&exchange[at + 2u]),
        atomicLoad(&exchange[at + 3u]),
    );
    if any(words == vec4(EMPTY)) {
        // Whoever gave up hands on nothing that is worth waiting for.
        let gone = select(PATIENCE, atomicLoad(&waited), atomicOr(&exchange[GAVE_UP], 0u) == EMPTY);
        var turns = 0u;
        while any(words == vec4(EMPTY)) && gone + turns < PATIENCE {
            turns += 1u;
            words = wait_turn(at, words);
        }
        atomicMax(&waited, gone + turns);
        // A driver that ends loops by itself ends this one too: the words say whether they are there.
        if any(words == vec4(EMPTY)) {
            atomicStore(&exchange[GAVE_UP], 0u);
        }
    }
    return words;
}
