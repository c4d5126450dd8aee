//! What the library logs while a test runs.

use std::sync::{Mutex, Once, PoisonError};

static RECORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = format!("{} {}", record.level(), record.args());
        RECORDS.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    fn flush(&self) {}
}

/// Keeps all warnings and errors from now on. Tests of one process share them.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Logger).expect("no other logger");
        log::set_max_level(log::LevelFilter::Warn);
    });
}

/// Returns the records so far that contain `word`, each with its level before it: `WARN …`.
pub fn of(word: &str) -> Vec<String> {
    let records = RECORDS.lock().unwrap_or_else(PoisonError::into_inner);
    records.iter().filter(|text| text.contains(word)).cloned().collect()
}
