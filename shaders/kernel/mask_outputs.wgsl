// A sequence with zeros at dead steps. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(2) var<storage, read> live: array<u32>; // [..][T][B]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]

@compute @workgroup_size(WORKGROUP)
fn mask_outputs(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    let alive = live[of_direction(group.z, params.live_0, params.live_1) + group.y] != 0u;
    if c < params.units / 4u {
        let at = group.y * width + group.z * params.units / 4u + c;
        result[params.target_0 * width + at] = select(vec4(0.0), source[params.source_0 * width + at], alive);
    }
}
