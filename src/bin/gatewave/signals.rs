//! What ends a command from outside: Ctrl-C, SIGTERM, and SIGHUP unless it is ignored, as `nohup` does it.
//!
//! A training ends after its batch and is saved; a second signal ends it at once. Every other command ends at once. What
//! has not been written whole is removed either way.

use std::sync::atomic::{AtomicBool, Ordering};

use gatewave::inspect::Replacement;
use gatewave::{Error, ErrorKind, Result};

use crate::files;

/// Whether a signal is left to the command.
static SAVES: AtomicBool = AtomicBool::new(false);

/// Whether a signal came that was left to the command.
static ASKED: AtomicBool = AtomicBool::new(false);

/// The exit status of shells for programs that Ctrl-C ended.
pub(crate) const STATUS: u8 = 130;

/// Watches for signals from here on.
///
/// # Errors
///
/// Returns an error of kind `Io` if the system refuses.
pub(crate) fn watch() -> Result<()> {
    system::watch().map_err(|e| Error::new(ErrorKind::Io, format!("signals: {e}")))
}

/// Leaves the next signal to the command, which asks for it by [`came`].
pub(crate) fn save_first() {
    SAVES.store(true, Ordering::Relaxed);
}

/// Returns whether a signal came that was left to the command.
pub(crate) fn came() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Returns whether a signal that has just come ends the process at once. Then nothing is left behind.
fn ends() -> bool {
    if SAVES.load(Ordering::Relaxed) && !ASKED.swap(true, Ordering::Relaxed) {
        return false;
    }
    Replacement::abandon_all();
    files::clean();
    true
}

#[cfg(unix)]
mod system {
    use std::{fs, io, thread};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    pub(super) fn watch() -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain((!ignores_hangup()).then_some(SIGHUP)))?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                if super::ends() {
                    // Tells the parent which signal it was. It returns only if the signal could not be raised.
                    let _ = emulate_default_handler(signal);
                    std::process::exit(super::STATUS.into());
                }
            }
        })?;
        Ok(())
    }

    /// Returns whether the parent has this process ignore SIGHUP. Linux tells; elsewhere it counts as not ignored.
    fn ignores_hangup() -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        mask >> (SIGHUP - 1) & 1 == 1
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    pub(super) fn watch() -> io::Result<()> {
        let handler = || {
            if super::ends() {
                std::process::exit(super::STATUS.into());
            }
        };
        ctrlc::set_handler(handler).map_err(io::Error::other)
    }
}
