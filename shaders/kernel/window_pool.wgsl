// What the steps of each window come to, feature by feature. See src/kernel/catalog/across.rs.
const WORKGROUP: u32 = 64u;

// PoolOp in src/kernel/across.rs.
const POOL_MAX: u32 = 0u;
const POOL_MEAN: u32 = 1u;
const POOL_MIN: u32 = 2u;
override POOL: u32 = POOL_MAX;
override MASKED: bool = false;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][B][D · units]
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]

// Returns the larger of the two, or the smaller one; NaN if either is.
fn extreme(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return keep_nan(a, keep_nan(b, select(max(a, b), min(a, b), POOL == POOL_MIN)));
}

@compute @workgroup_size(WORKGROUP)
fn window_pool(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    let row = params.offset + group.y;
    let start = window_start(row / params.batch);
    let first = places_before(start, 0);
    let end = places_before(start, i32(params.count));
    if c < width {
        var value = vec4(0.0);
        var taken = 0u;
        for (var j = first; j < end; j++) {
            let step = start + i32(j * params.time_step_1);
            if has_step(step, row % params.batch) {
                let x = source[row_of_step(step, row % params.batch) * width + c];
                if POOL == POOL_MAX || POOL == POOL_MIN {
                    value = select(extreme(value, x), x, taken == 0u);
                } else {
                    value += x;
                }
                taken += 1u;
            }
        }
        if POOL == POOL_MEAN {
            value = value / f32(max(select(counted(start), taken, MASKED), 1u));
        }
        result[(params.target_0 + group.y) * width + c] = value;
    }
}
