// No target.
fn target_value(row: u32, c: u32) -> f32 {
    return 0.0;
}
