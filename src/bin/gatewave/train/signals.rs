//! Ctrl-C and SIGTERM: the training under way ends behind its batch, and is saved. A second one ends at once.

use std::sync::atomic::{AtomicBool, Ordering};

use gatewave::{Error, ErrorKind, Result};

/// Whether a signal came.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The status of a shell for what Ctrl-C ended.
pub(crate) const STATUS: u8 = 130;

/// From here on a signal is taken note of.
///
/// # Errors
///
/// Kind `Io`, where the system refuses.
pub(super) fn watch() -> Result<()> {
    let handler = || {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(STATUS.into());
        }
    };
    ctrlc::set_handler(handler).map_err(|e| Error::new(ErrorKind::Io, format!("signals: {e}")).because(e))
}

/// Whether one came.
pub(super) fn came() -> bool {
    ASKED.load(Ordering::Relaxed)
}
