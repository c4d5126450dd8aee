// The timesteps of a scan, one after the other. A kernel supplies what goes from step to step in workgroup memory, and next_step(p).
fn take_steps(p: Place, lane: u32) {
    for (var step = 0u; step < params.steps; step++) {
        // Makes what a step left visible to the invocations that multiply it.
        workgroupBarrier();
        held_product(p);
        // Every invocation has read it: it may be written over.
        workgroupBarrier();
        finish_tile(p, lane);
        next_step(p);
    }
}
