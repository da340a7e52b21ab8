//! Coverage files by real programs, and parts of them.

mod files;
mod fixtures;
mod units;
mod written;
