// What the live steps of a row come to, feature by feature. See src/kernel/catalog/across.rs.
const WORKGROUP: u32 = 64u;

// PoolOp in src/kernel/across.rs.
const POOL_MAX: u32 = 0u;
const POOL_MEAN: u32 = 1u;
const POOL_MIN: u32 = 2u;
override POOL: u32 = POOL_MAX;
override FIRST: bool = false;
override LAST: bool = false;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][B][D · units]
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(4) var<storage, read_write> counts: array<vec4<f32>>; // [..][D · units]

// Returns the larger of the two, or the smaller one; NaN if either is.
fn extreme(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return keep_nan(a, keep_nan(b, select(max(a, b), min(a, b), POOL == POOL_MIN)));
}

@compute @workgroup_size(WORKGROUP)
fn pool(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    if c < width {
        let write_at = (params.target_0 + group.y) * width + c;
        let read_at = (params.source_0 + group.y) * width + c;
        var value = select(result[write_at], vec4(0.0), FIRST);
        var count = select(counts[write_at], vec4(0.0), FIRST);
        for (var t = 0u; t < params.steps; t++) {
            if is_live(params.live_0 + group.y + t * params.batch) {
                let x = source[read_at + t * params.batch * width];
                if POOL == POOL_MAX || POOL == POOL_MIN {
                    let is_first = count == vec4(0.0);
                    let next = select(extreme(value, x), x, is_first);
                    // How many steps have it: those so far, this one, or both. NaN equals none, and counts as one.
                    let equal = select(vec4(0.0), count, next == value) + select(vec4(0.0), vec4(1.0), next == x);
                    count = select(max(equal, vec4(1.0)), vec4(1.0), is_first);
                    value = next;
                } else {
                    value += x;
                    count += 1.0;
                }
            }
        }
        if LAST && POOL == POOL_MEAN {
            value /= max(count, vec4(1.0));
        }
        result[write_at] = value;
        counts[write_at] = count;
    }
}
