// GRU, reset before the product, in two kernels. step_reset has r = f(x_r + r_r) and z = f(x_z + r_z). step_new has n =
// g(x_n + (r ∘ h)·W_n + b_n) and h' = (1 − z) ∘ n + z ∘ h. f and g are from function/plain.wgsl, or linked separately.
const GATES: u32 = 3u;
const STATES: u32 = 1u;

const GATE_RESET: u32 = 0u;
const GATE_UPDATE: u32 = 1u;
const GATE_NEW: u32 = 2u;

// The rows of `scratch` between the two kernels.
const SCRATCH_RESET: u32 = 0u;
const SCRATCH_UPDATE: u32 = 1u;
