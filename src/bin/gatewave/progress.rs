//! The progress of loading a large model, on standard error if that is a terminal.

use std::sync::OnceLock;

use gatewave::device::Loading;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::messages::progress_target;

/// Smaller models load before anyone could read a line.
const WORTH_BYTES: u64 = 32 << 20;

/// Returns a function that shows progress, from its first call on.
pub(crate) fn shown() -> impl Fn(Loading) + Send + Sync {
    let bar = OnceLock::new();
    move |Loading { done_bytes, total_bytes, .. }| {
        if total_bytes >= WORTH_BYTES {
            bar.get_or_init(|| self::bar(total_bytes)).set_position(done_bytes);
        }
    }
}

/// Makes a bar that disappears with the engine's options: when loading is done, and after an error.
fn bar(total_bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("weights {bar:30} {binary_bytes} of {binary_total_bytes}");
    ProgressBar::with_draw_target(Some(total_bytes), progress_target())
        .with_style(style.expect("a fixed template"))
        .with_finish(ProgressFinish::AndClear)
}
