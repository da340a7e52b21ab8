//! What is said on stderr.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use podcov_cli::say;
use podcov_exit::Exit;

/// The program's name.
pub(crate) const NAME: &str = "podcov-report";

/// Messages about the input: each is printed once, however many results are made of it.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    printed: Mutex<HashSet<String>>,
    incomplete: AtomicBool,
}

impl Messages {
    /// Prints what the user should know.
    pub(crate) fn warn(&self, message: impl Display) {
        self.print(format!("warning: {message}"));
    }

    /// Prints what makes the result incomplete.
    pub(crate) fn error(&self, message: impl Display) {
        self.print(format!("error: {message}"));
        self.set_incomplete();
    }

    /// Notes that the result is incomplete, which has been said already.
    pub(crate) fn set_incomplete(&self) {
        self.incomplete.store(true, Ordering::Relaxed);
    }

    /// How the process ends with it.
    pub(crate) fn exit(&self) -> Exit {
        if self.incomplete.load(Ordering::Relaxed) { Exit::Incomplete } else { Exit::Done }
    }

    fn print(&self, line: String) {
        let mut printed = self.printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !printed.contains(&line) {
            say(NAME, &line);
            printed.insert(line);
        }
    }
}
