// A softmax over the steps that a row sees, one workgroup for each row. See src/kernel/catalog/attention.rs.
const WORKGROUP: u32 = 64u;

override CAUSAL: bool = false;

@group(0) @binding(1) var<storage, read> source: array<f32>; // [..][B][units]
@group(0) @binding(4) var<storage, read_write> result: array<f32>; // [..][B][units]

// Whether row `row` sees step `step`. Past the end, the mask of the first step is read, and does not matter.
fn sees(row: u32, step: u32) -> bool {
    let is_step = step < params.features;
    let at = params.live_0 + select(0u, step, is_step) * params.batch + row % params.batch;
    return is_step && is_live(at) && (!CAUSAL || step <= params.offset + row / params.batch);
}

@compute @workgroup_size(WORKGROUP)
fn shares(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = params.target_0 + group.y;
    let read_at = (params.source_0 + group.y) * params.units;
    let write_at = row * params.units;

    var highest = -3.4e38;
    for (var c = lane; c < params.units; c += WORKGROUP) {
        highest = max(highest, select(-3.4e38, source[read_at + c], sees(row, c)));
    }
    highest = highest_of_lanes(lane, highest);

    var sum = 0.0;
    for (var c = lane; c < params.units; c += WORKGROUP) {
        sum += select(0.0, exp_bounded(vec4(source[read_at + c] - highest)).x, sees(row, c));
    }
    let total = sum_of_lanes(lane, sum);

    for (var c = lane; c < params.units; c += WORKGROUP) {
        let share = exp_bounded(vec4(source[read_at + c] - highest)).x / total;
        result[write_at + c] = select(0.0, share, sees(row, c));
    }
}
