// Which rows have a step.
@group(0) @binding(3) var<storage, read> live: array<u32>; // [T][B]

fn is_live(at: u32) -> bool {
    return live[at] != 0u;
}
