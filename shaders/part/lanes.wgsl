// What the lanes of a workgroup have, as one: WORKGROUP is its kernel's. The first lane goes through the parts, in order: a
// software GPU loads for each lane by itself.
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

// What the first lane has found.
fn of_first_lane() -> f32 {
    // Makes it visible to all.
    workgroupBarrier();
    let found = parts[0];
    // Keeps a part to come from overwriting it where another lane still reads.
    workgroupBarrier();
    return found;
}
