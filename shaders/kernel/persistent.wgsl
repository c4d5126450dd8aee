// Many timesteps of one layer, in each direction of the dispatch. The workgroups of a tile of rows have some panels
// each, keep their states from step to step, and hand each other the hidden state. See src/kernel/catalog.rs.
override LAYER: u32 = 1u; // panels of the layer

// The hidden state that the step reads, for all units of the layer.
var<workgroup> current: array<vec4<f32>, ROWS * 4u * LAYER>; // [row][H]

// Loads the invocation's part of the hidden state before the first step.
fn load_current(p: Place, lane: u32) {
    let width = params.units / 4u;
    let source = of_direction(p.z, params.source_0, params.source_1);
    for (var at = lane; at < ROWS * width; at += 4u * PANELS * SLICES) {
        current[at] = hidden[part_at(p, source, at / width) + at % width];
    }
}

// Takes what the other workgroups computed in step `step`: the invocation's part of it.
fn take_others(p: Place, group: u32, lane: u32, step: u32) {
    let width = params.units / 4u;
    for (var at = lane; at < ROWS * width; at += 4u * PANELS * SLICES) {
        let unit = at % width;
        if unit / (4u * PANELS) != group {
            current[at] = bitcast<vec4<f32>>(wait_for(handed_at(p, step, at / width) + 4u * unit));
        }
    }
}

@compute @workgroup_size(4u * PANELS * SLICES)
fn persistent(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    begin_walk(p);
    load_current(p, lane);
    if lane == 0u {
        atomicStore(&waited, 0u);
    }
    for (var step = 0u; step < params.steps; step++) {
        // Makes the hidden state of all units visible to the invocations that multiply it, and `waited` as well.
        workgroupBarrier();
        held_product(p);
        // Every invocation has read the hidden state, so it may be overwritten.
        workgroupBarrier();
        finish_tile(p, lane);
        for (var i = p.slice; i < ROWS; i += SLICES) {
            if is_own(p, i) {
                hand_on(handed_at(p, step, i) + 4u * unit_at(p), bitcast<vec4<u32>>(states[i][0]));
            }
        }
        // Every invocation has handed on its part. Some drivers run invocations in turns.
        // There, the first would otherwise wait for workgroups that wait for the last.
        workgroupBarrier();
        if step + 1u < params.steps {
            take_others(p, group.x, lane, step);
        }
        next_step(p);
    }
    end_walk(p);
}
