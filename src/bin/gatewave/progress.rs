//! How far the loading of a large model is, on standard error where that is a terminal.

use std::sync::OnceLock;

use gatewave::Loading;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Smaller models are there before anyone could read a line.
const WORTH_BYTES: u64 = 32 << 20;

/// Shows what it is told, from the first time on.
pub(crate) fn shown() -> impl Fn(Loading) + Send + Sync {
    let bar = OnceLock::new();
    move |Loading { done_bytes, total_bytes }| {
        if total_bytes >= WORTH_BYTES {
            bar.get_or_init(|| self::bar(total_bytes)).set_position(done_bytes);
        }
    }
}

/// A bar that goes away with the engine's options: when all is there, and when something went wrong.
fn bar(total_bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("weights {bar:30} {binary_bytes} of {binary_total_bytes}");
    ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::stderr())
        .with_style(style.expect("a fixed template"))
        .with_finish(ProgressFinish::AndClear)
}
