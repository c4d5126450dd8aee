// The backward pass of the larger of two values. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]
@group(0) @binding(4) var<storage, read> other: array<vec4<f32>>; // [..][D · units]

@compute @workgroup_size(WORKGROUP)
fn maximum_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    if c < width {
        let at = (params.source_0 + group.y) * width + c;
        let a = source[at];
        let b = other[at];
        let d = delta[(params.source_1 + group.y) * width + c];
        let share = select(select(vec4(0.0), d, a > b), 0.5 * d, a == b);
        let feature = 4u * c % params.units + vec4(0u, 1u, 2u, 3u);
        result[(params.target_0 + group.y) * width + c] = select(vec4(0.0), share, feature < vec4(params.features));
    }
}
