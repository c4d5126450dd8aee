// Copies numbers of a buffer into a texture: one texel for each invocation,
// one row of texels for each row of workgroups. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var result: texture_storage_2d<rgba32float, write>;

@compute @workgroup_size(WORKGROUP)
fn to_texture(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = group.y * TEXTURE_WIDTH + group.x * WORKGROUP + lane;
    if at < params.count / 4u {
        textureStore(result, texel_of(at), source[params.offset / 4u + at]);
    }
}
