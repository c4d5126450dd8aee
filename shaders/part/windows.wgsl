// Windows along a sequence. Steps count from its first one, and are negative in the padding before it.

// Returns the first step of a window.
fn window_start(window: u32) -> i32 {
    return i32(window * params.time_step_0) + i32(params.before_0);
}

// Returns how many of the places of a window that starts at `start` come before step `bound`.
fn places_before(start: i32, bound: i32) -> u32 {
    let reach = max(bound - start + i32(params.time_step_1) - 1, 0);
    return min(u32(reach) / params.time_step_1, params.steps);
}

// Returns the places of a window that starts at `start` that a mean counts.
fn counted(start: i32) -> u32 {
    return places_before(start, i32(params.kept_1)) - places_before(start, i32(params.kept_0));
}

// Whether row `b` of the batch has step `step`.
fn has_step(step: i32, b: u32) -> bool {
    return is_live(params.live_0 + u32(step) * params.batch + b);
}

// Returns the row of the source that has step `step` of row `b` of the batch.
fn row_of_step(step: i32, b: u32) -> u32 {
    return params.source_0 + (u32(step) - params.gates_0) * params.batch + b;
}
