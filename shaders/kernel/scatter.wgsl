// The gradient of a table: the rows of each token, added up. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

override FIRST: bool = false;

@group(0) @binding(1) var<storage, read> delta: array<vec4<f32>>; // [..][units]
@group(0) @binding(2) var<storage, read> order: array<u32>; // [..]: rows of the call, in the order of their tokens
@group(0) @binding(3) var<storage, read> starts: array<u32>; // [V + 1]: where the rows of each token start
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>; // [V][units]

@compute @workgroup_size(WORKGROUP)
fn scatter(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    if c < width && group.y < params.tokens {
        let first = max(starts[params.token + group.y], params.offset);
        let end = min(starts[params.token + group.y + 1u], params.offset + params.count);
        let at = group.y * width + c;
        var sum = select(result[at], vec4(0.0), FIRST);
        for (var i = first; i < end; i++) {
            // A row before the first wraps around, and is then past the last.
            let row = order[i] - params.source_0;
            if row < params.rows {
                sum += delta[row * width + c];
            }
        }
        result[at] = sum;
    }
}
