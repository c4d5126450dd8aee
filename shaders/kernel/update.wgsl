// Replaces weights by new ones. See src/kernel/catalog/update.rs, and src/rule.rs for the equations.
const WORKGROUP: u32 = 64u;

override BOUNDED: bool = false;

@group(0) @binding(1) var<storage, read> delta: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> scalars: array<vec4<f32>>; // [roles][4]
@group(0) @binding(3) var<storage, read> norms: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;

// Whether x is finite. This tests its bits: a compiler may assume that every float is finite.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// Returns the index of the norm by which the rows of a class are clipped.
fn norm_of(class_index: u32) -> u32 {
    return select(
        select(params.live_1, params.time_step_1, class_index == 1u),
        params.time_step_0,
        class_index == 0u,
    );
}

// Updates a weight with its moments, by the scalars of a role.
fn step_along(at: u32, role: u32, norm: f32) {
    let s = scalars_of(role);
    let w = result[at];
    var g = delta[at] + s.penalty * w;
    if BOUNDED {
        g = clamp(g, vec4(-s.clip_value), vec4(s.clip_value));
    }
    if s.clip_norm > 0.0 {
        g *= s.clip_norm / max(sqrt(norm) + s.clip_slack, s.clip_norm);
    }
    g += s.coupled * w;
    result[at] = moved(at, s, w, direction(at, s, g));
}

@compute @workgroup_size(WORKGROUP)
fn update(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let four = (group.y * params.steps + group.x) * WORKGROUP + lane;
    let class_index = class_of(four);
    let role = role_of(class_index);
    let is_there = four < params.rows * (params.units / 4u) && role != NO_ROLE;
    if is_there && is_finite(norms[0]) {
        step_along(params.source_0 * (params.units / 4u) + four, role, norms[norm_of(class_index)]);
    }
}
