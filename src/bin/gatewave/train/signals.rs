//! Ctrl-C and SIGTERM: the first ends the training after its batch and saves it; a second one ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};

use gatewave::{Error, ErrorKind, Result};

/// Whether a signal came.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The exit status of shells for programs that Ctrl-C ended.
pub(crate) const STATUS: u8 = 130;

/// Watches for signals from here on.
///
/// # Errors
///
/// Returns an error of kind `Io` if the system refuses.
pub(super) fn watch() -> Result<()> {
    let handler = || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(STATUS.into());
        }
    };
    ctrlc::set_handler(handler).map_err(|e| Error::new(ErrorKind::Io, format!("signals: {e}")).because(e))
}

/// Returns whether a signal came.
pub(super) fn came() -> bool {
    ASKED.load(Ordering::Relaxed)
}
