// Rows of the batch that one invocation computes.
const ROWS: u32 = 8u;
