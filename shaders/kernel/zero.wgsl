// Rows of zeros. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>; // [..][units]

@compute @workgroup_size(WORKGROUP)
fn zero(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    if c < width {
        result[(params.target_0 + group.y) * width + c] = vec4(0.0);
    }
}
