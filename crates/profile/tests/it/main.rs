//! Coverage files by real programs, judged by Go's own tool, and bytes that no program would write.

mod differential;
#[path = "../../../covdata/tests/it/fixtures.rs"]
mod fixtures;
mod go;
mod problems;
mod properties;
mod releases;
mod results;
mod suites;
