// Every row has a step at every time.
fn is_live(at: u32) -> bool {
    return true;
}
