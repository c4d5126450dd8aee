// A matrix transposed: the columns of a panel become rows, and each
// invocation has four rows of the depth. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

override GATES: u32 = 1u;
override AFTER: u32 = 1u; // rows of a panel after those of the depth
override GATEWISE: bool = false; // whether each gate is transposed by itself

@group(0) @binding(1) var<storage, read> weights: array<f32>; // [P][K + AFTER][G][16]
// result: [K / 16][N + 1][16]; per gate [K / 16][N / G + 1][G][16]
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP)
fn transpose(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let columns = params.panels * GATES * 16u;
    let at = group.x * WORKGROUP + lane;
    let column = at / 4u;
    let k = group.y * 16u + at % 4u * 4u;
    let width = GATES * 16u;

    // Behind the last column is a bias of zeros: one, or one of each gate if gates are transposed separately.
    let lines = columns + select(1u, GATES, GATEWISE);
    var line = column;
    if GATEWISE && column < columns {
        line = (column / width * 16u + column % 16u) * GATES + column / 16u % GATES;
    }
    let read = min(column, columns - 1u);
    let panel = params.weight_panel + read / width;
    let first = (panel * (params.depth + AFTER) + min(k, params.depth - 4u)) * width + read % width;
    let transposed = vec4(weights[first], weights[first + width], weights[first + 2u * width], weights[first + 3u * width]);
    if column < lines && k < params.depth {
        let write = (params.target_0 + group.y) * lines + line;
        result[write * 4u + at % 4u] = select(transposed, vec4(0.0), column >= columns);
    }
}
