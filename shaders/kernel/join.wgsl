// Features of one value, placed among those of another or combined with them. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

// JoinOp in src/kernel/mod.rs.
const JOIN_SET: u32 = 0u;
const JOIN_ADD: u32 = 1u;
const JOIN_SUBTRACT: u32 = 2u;
const JOIN_MULTIPLY: u32 = 3u;
const JOIN_MAXIMUM: u32 = 4u;
override JOIN: u32 = JOIN_SET;
override FIRST: bool = false;
override BROADCAST: bool = false;

@group(0) @binding(1) var<storage, read> source: array<f32>; // [..][source_directions · source_units]
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]

fn joined(old: vec4<f32>, taken: vec4<f32>) -> vec4<f32> {
    switch JOIN {
        case JOIN_ADD: { return old + taken; }
        case JOIN_SUBTRACT: { return old - taken; }
        case JOIN_MULTIPLY: { return old * taken; }
        case JOIN_MAXIMUM: { return keep_nan(old, keep_nan(taken, max(old, taken))); }
        default: { return taken; }
    }
}

@compute @workgroup_size(WORKGROUP)
fn join(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    let row = params.target_0 + group.y;
    let at = row * width + c;

    // Units are a multiple of four, so these four are of one part.
    let within = 4u * c % params.units + vec4(0u, 1u, 2u, 3u);
    let feature = 4u * c / params.units * params.features + within;
    let from_first = feature - params.offset;
    let takes = (within < vec4(params.features)) & (feature >= vec4(params.offset)) & (from_first < vec4(params.count));

    // Columns that take nothing read the first feature that is taken.
    let taken = select(vec4(0u), from_first, takes) + params.source_offset;
    let source_row = params.source_0 + select(group.y, row % params.batch, BROADCAST);
    let place = source_row * params.source_directions * params.source_units
        + taken / params.source_features * params.source_units + taken % params.source_features;

    if c < width {
        let old = select(result[at], vec4(0.0), FIRST);
        let values = vec4(source[place.x], source[place.y], source[place.z], source[place.w]);
        result[at] = select(old, joined(old, values) * bitcast<f32>(params.scale), takes);
    }
}
