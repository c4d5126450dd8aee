// Combines the values of a workgroup's lanes. The kernel has WORKGROUP. The first lane
// goes through the parts, in order: a software GPU loads for each lane separately.
var<workgroup> parts: array<f32, WORKGROUP>;

fn sum_of_lanes(lane: u32, part: f32) -> f32 {
    parts[lane] = part;
    // Makes every lane's part visible to the first.
    workgroupBarrier();
    if lane == 0u {
        var total = 0.0;
        for (var i = 0u; i < WORKGROUP; i++) {
            total += parts[i];
        }
        parts[0] = total;
    }
    return of_first_lane();
}

fn highest_of_lanes(lane: u32, part: f32) -> f32 {
    parts[lane] = part;
    // Makes every lane's part visible to the first.
    workgroupBarrier();
    if lane == 0u {
        var highest = part;
        for (var i = 1u; i < WORKGROUP; i++) {
            highest = max(highest, parts[i]);
        }
        parts[0] = highest;
    }
    return of_first_lane();
}

// Returns what the first lane has found.
fn of_first_lane() -> f32 {
    // Makes it visible to all.
    workgroupBarrier();
    let found = parts[0];
    // Keeps a later part from overwriting it while another lane still reads.
    workgroupBarrier();
    return found;
}
