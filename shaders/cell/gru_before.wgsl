// GRU, reset before the product, in two kernels: step_reset has r and z, step_new has
// n = tanh(x_n + (r ∘ h)·W_n + b_n) and h' = (1 − z) ∘ n + z ∘ h.
const GATES: u32 = 3u;
const STATES: u32 = 1u;

const GATE_RESET: u32 = 0u;
const GATE_UPDATE: u32 = 1u;
const GATE_NEW: u32 = 2u;

// Rows of `memory` between the two.
const MEMORY_RESET: u32 = 0u;
const MEMORY_UPDATE: u32 = 1u;
