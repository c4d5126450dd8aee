// The timesteps of a scan, one after the other. A kernel supplies
// next_step(p), and what passes from step to step in workgroup memory.
fn take_steps(p: Place, lane: u32) {
    for (var step = 0u; step < params.steps; step++) {
        // Makes the results of a step visible to the invocations that multiply them.
        workgroupBarrier();
        held_product(p);
        // Every invocation has read them, so they may be overwritten.
        workgroupBarrier();
        finish_tile(p, lane);
        next_step(p);
    }
}
