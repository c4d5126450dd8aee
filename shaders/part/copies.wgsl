// Copies of rows, one for each gate of a product: which four
// elements an invocation has, and which of them each copy keeps.
const WORKGROUP: u32 = 64u;

override GATES: u32 = 1u;

@group(0) @binding(2) var<storage, read> draws: array<u32>; // [4]: the key, B of the call, the first row of the batch

struct Place {
    four: u32, // of the padded units of a part
    m: u32,    // row of the dispatch
    z: u32,    // part of the dispatch
    part: u32, // of all
}

fn place(group: vec3<u32>, lane: u32) -> Place {
    return Place(group.x * WORKGROUP + lane, group.y, group.z, params.direction + group.z);
}

// Returns where the part of the row starts, in fours of one copy. A row of one part has the dispatch's current part.
fn row_at(p: Place, first: u32, second: u32, parts: u32) -> u32 {
    let row = of_direction(p.z, first, second) + p.m;
    return (row * parts + p.part % parts) * params.units / 4u;
}

// Returns the place of the first copy of the four elements in a row of copies.
fn copy_at(p: Place) -> u32 {
    return p.four / 4u * 4u * GATES + p.four % 4u;
}

// Returns the four elements in the copy of gate `g`.
fn kept(p: Place, g: u32, value: vec4<f32>) -> vec4<f32> {
    let counter = draws[3] + (params.offset + p.m) % params.batch;
    let unit = 4u * p.four + vec4(0u, 1u, 2u, 3u);
    let feature = params.source_offset + (g * params.directions + p.part) * params.features + unit;
    let bits = random_bits(vec2(draws[0], draws[1]), counter, feature);
    let is_kept = (unit < vec4(params.features)) & (bits >= vec4(params.token));
    return select(vec4(0.0), value * bitcast<f32>(params.scale), is_kept);
}
