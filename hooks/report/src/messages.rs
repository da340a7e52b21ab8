//! Messages on stderr.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use podcov_cli::say;
use podcov_exit::Exit;

/// The program's name.
pub(crate) const NAME: &str = "podcov-report";

/// Messages about the input. Each is printed once, however many results are made.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    printed: Mutex<HashSet<String>>,
    incomplete: AtomicBool,
}

impl Messages {
    /// Prints what is no problem.
    pub(crate) fn note(&self, message: impl Display) {
        self.print(message.to_string());
    }

    /// Prints a warning.
    pub(crate) fn warn(&self, message: impl Display) {
        self.print(format!("warning: {message}"));
    }

    /// Prints an error, and marks the result as incomplete.
    pub(crate) fn error(&self, message: impl Display) {
        self.print(format!("error: {message}"));
        self.set_incomplete();
    }

    /// Marks the result as incomplete, if the error has been printed already.
    pub(crate) fn set_incomplete(&self) {
        self.incomplete.store(true, Ordering::Relaxed);
    }

    /// The exit code for the result.
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

/// The text after the name of the first of several things.
pub(crate) fn and_more(count: usize) -> String {
    if count > 1 { format!(" and {} more", count - 1) } else { String::new() }
}
