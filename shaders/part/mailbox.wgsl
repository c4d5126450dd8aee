// What the workgroups of a dispatch hand each other. WGSL promises them no order of stores, so each word
// itself tells whether it is there. EMPTY, a NaN that no state is stored as, means that it is not. Every step
// has its own words. WGSL does not promise that workgroups run side by side either, so no wait is endless. An
// invocation that times out reports it, and goes on with wrong numbers, which the host then does not use.
@group(0) @binding(6) var<storage, read_write> mailbox: array<atomic<u32>>; // [1 + D · steps · B][H]

const EMPTY: u32 = 0xffffffffu;
const OTHER_NAN: u32 = 0x7fc00000u;

// Word 0 is EMPTY, or another word if an invocation timed out.
const TIMED_OUT: u32 = 0u;

// The most turns that a workgroup waits in all, with sixteen looks each. `waited` counts them: of
// invocations that wait together, it has the longest wait. Invocation 0 begins with `waited = 0`.
const SPIN_LIMIT: u32 = 49152u;

var<workgroup> waited: atomic<u32>;

// Returns the first word of step `step` of row `i` of the tile.
fn handed_at(p: Place, step: u32, i: u32) -> u32 {
    return (1u + (p.z * params.steps + step) * params.batch + batch_row(p, i)) * params.units;
}

fn hand_on(at: u32, state: vec4<u32>) {
    let words = select(state, vec4(OTHER_NAN), state == vec4(EMPTY));
    atomicStore(&mailbox[at], words.x);
    atomicStore(&mailbox[at + 1u], words.y);
    atomicStore(&mailbox[at + 2u], words.z);
    atomicStore(&mailbox[at + 3u], words.w);
}

// Reads the word if it is not known yet. A plain load could be merged with the one before it.
fn look(at: u32, known: u32) -> u32 {
    if known == EMPTY {
        return atomicOr(&mailbox[at], 0u);
    }
    return known;
}

fn look_4(at: u32, known: u32) -> u32 {
    return look(at, look(at, look(at, look(at, known))));
}

// Waits a turn for the first of four words that is missing, and then reads all that are there.
fn wait_turn(at: u32, known: vec4<u32>) -> vec4<u32> {
    let first = at + select(select(select(3u, 2u, known.z == EMPTY), 1u, known.y == EMPTY), 0u, known.x == EMPTY);
    let word = look_4(first, look_4(first, look_4(first, look_4(first, EMPTY))));
    if word == EMPTY {
        return known;
    }
    return vec4(look(at, known.x), look(at + 1u, known.y), look(at + 2u, known.z), look(at + 3u, known.w));
}

// Returns four words from `at` on, once they are there.
fn wait_for(at: u32) -> vec4<u32> {
    var words = vec4(
        atomicLoad(&mailbox[at]),
        atomicLoad(&mailbox[at + 1u]),
        atomicLoad(&mailbox[at + 2u]),
        atomicLoad(&mailbox[at + 3u]),
    );
    if any(words == vec4(EMPTY)) {
        // An invocation that timed out hands on nothing that is worth waiting for.
        let gone = select(SPIN_LIMIT, atomicLoad(&waited), atomicOr(&mailbox[TIMED_OUT], 0u) == EMPTY);
        var turns = 0u;
        while any(words == vec4(EMPTY)) && gone + turns < SPIN_LIMIT {
            turns += 1u;
            words = wait_turn(at, words);
        }
        atomicMax(&waited, gone + turns);
        // A driver that ends loops on its own ends this one too, so the words are checked again.
        if any(words == vec4(EMPTY)) {
            atomicStore(&mailbox[TIMED_OUT], 0u);
        }
    }
    return words;
}
