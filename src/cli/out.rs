//! The one place that writes to standard output and standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to its user")]

use std::fmt::Display;

/// A line of the result, on standard output.
pub fn line(text: impl Display) {
    println!("{text}");
}

/// A line about how it goes, on standard error.
pub fn note(text: impl Display) {
    eprintln!("{text}");
}
