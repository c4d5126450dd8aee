// The outputs of two directions, combined. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

// Combine in src/kernel/mod.rs.
const COMBINE_SUM: u32 = 0u;
const COMBINE_AVERAGE: u32 = 1u;
const COMBINE_PRODUCT: u32 = 2u;
override COMBINE: u32 = COMBINE_SUM;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][2 · units]
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // [..][units]

fn combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    switch COMBINE {
        case COMBINE_AVERAGE: { return (a + b) * 0.5; }
        case COMBINE_PRODUCT: { return a * b; }
        default: { return a + b; }
    }
}

@compute @workgroup_size(WORKGROUP)
fn merge(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    if c < width {
        let at = (params.source_0 + group.y) * 2u * width + c;
        result[(params.target_0 + group.y) * width + c] = combine(source[at], source[at + width]);
    }
}
