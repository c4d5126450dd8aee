// The numbers of each row of the batch in another shape. See src/kernel/catalog/across.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read> source: array<f32>; // [..][B][source_directions · source_units]
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // [..][D · units]

@compute @workgroup_size(WORKGROUP)
fn rearrange(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    let row = params.offset + group.y;

    // Units are a multiple of four, so these four are of one part.
    let within = 4u * c % params.units + vec4(0u, 1u, 2u, 3u);
    let feature = 4u * c / params.units * params.features + within;
    let is_feature = within < vec4(params.features);

    // Padding reads the first number of the row.
    let number = row / params.batch * params.time_step_0 + feature * params.time_step_1;
    let taken = select(vec4(0u), number, is_feature);
    let size = params.source_directions * params.source_features;
    let column = taken % size;
    let place = (params.source_0 + taken / size * params.batch + row % params.batch)
        * params.source_directions * params.source_units
        + column / params.source_features * params.source_units + column % params.source_features;

    if c < width {
        let values = vec4(source[place.x], source[place.y], source[place.z], source[place.w]);
        result[(params.target_0 + group.y) * width + c] = select(vec4(0.0), values, is_feature);
    }
}
