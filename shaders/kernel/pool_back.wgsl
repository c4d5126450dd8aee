// The backward pass of `pool`: the share of each step. See src/kernel/catalog/across.rs.
const WORKGROUP: u32 = 64u;

// PoolOp in src/kernel/across.rs.
const POOL_MAX: u32 = 0u;
const POOL_MIN: u32 = 2u;
const POOL_SUM: u32 = 3u;
override POOL: u32 = POOL_MAX;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(2) var<storage, read> other: array<vec4<f32>>; // [B][D · units]
@group(0) @binding(4) var<storage, read> counts: array<vec4<f32>>; // [B][D · units]
@group(0) @binding(5) var<storage, read> delta: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(6) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]

@compute @workgroup_size(WORKGROUP)
fn pool_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    if c < width {
        let b = (params.offset + group.y) % params.batch;
        let pooled_at = b * width + c;
        let is_extreme = POOL == POOL_MAX || POOL == POOL_MIN;
        let has_share = (source[(params.source_0 + group.y) * width + c] == other[pooled_at]) | vec4(!is_extreme);
        let shares = select(max(counts[pooled_at], vec4(1.0)), vec4(1.0), POOL == POOL_SUM);
        let share = delta[(params.source_1 + b) * width + c] / shares;
        let takes = has_share & vec4(is_live(params.live_0 + group.y));
        result[(params.target_0 + group.y) * width + c] = select(vec4(0.0), share, takes);
    }
}
