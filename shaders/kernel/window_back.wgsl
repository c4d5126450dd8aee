// The backward pass of `window_pool`: what each step takes of its windows. See src/kernel/catalog/across.rs.
const WORKGROUP: u32 = 64u;

// PoolOp in src/kernel/across.rs.
const POOL_MAX: u32 = 0u;
const POOL_MEAN: u32 = 1u;
const POOL_MIN: u32 = 2u;
override POOL: u32 = POOL_MAX;
override MASKED: bool = false;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][B][D · units]
@group(0) @binding(2) var<storage, read> other: array<vec4<f32>>; // [..][B][D · units]
@group(0) @binding(4) var<storage, read> delta: array<vec4<f32>>; // [..][B][D · units]
@group(0) @binding(5) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]

// Returns the number that a mean over the window that starts at `start` is divided by.
fn divisor(start: i32, b: u32) -> f32 {
    if !MASKED {
        return f32(max(counted(start), 1u));
    }
    var taken = 0u;
    let end = places_before(start, i32(params.kept_1));
    for (var j = places_before(start, i32(params.kept_0)); j < end; j++) {
        taken += u32(has_step(start + i32(j * params.time_step_1), b));
    }
    return f32(max(taken, 1u));
}

@compute @workgroup_size(WORKGROUP)
fn window_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    let row = params.offset + group.y;
    let b = row % params.batch;
    let step = i32(row / params.batch);

    // The windows that begin at this step or before it, and do not end before it. None takes a dead step.
    let ahead = step - i32(params.before_0);
    let reach = i32((params.steps - 1u) * params.time_step_1);
    let stride = params.time_step_0;
    let first = u32(max(ahead - reach + i32(stride) - 1, 0)) / stride;
    let end = select(0u, min(u32(max(ahead, 0)) / stride + 1u, params.count), ahead >= 0 && has_step(step, b));

    if c < width {
        var share = vec4(0.0);
        for (var window = first; window < end; window++) {
            let start = window_start(window);
            let distance = u32(step - start);
            if distance % params.time_step_1 == 0u {
                let at = (params.source_1 + (window - params.gates_1) * params.batch + b) * width + c;
                let d = delta[at];
                if POOL == POOL_MAX || POOL == POOL_MIN {
                    let y = other[at];
                    var takes = source[row_of_step(step, b) * width + c] == y;
                    for (var j = places_before(start, 0); j < distance / params.time_step_1; j++) {
                        let earlier = start + i32(j * params.time_step_1);
                        if has_step(earlier, b) {
                            takes = takes & (source[row_of_step(earlier, b) * width + c] != y);
                        }
                    }
                    share += select(vec4(0.0), d, takes);
                } else if POOL == POOL_MEAN {
                    share += d / divisor(start, b);
                } else {
                    share += d;
                }
            }
        }
        result[(params.target_0 + group.y) * width + c] = share;
    }
}
