//! Reports on Go coverage, for people and for tools.
//!
//! A [`Report`] is a [`Profile`](podcov_profile::Profile) with its source files, which [`Sources`] finds. Each format is a
//! module with a function that writes it.
//!
//! Percentages are of statements, as Go's. Formats that know lines alone count lines: see [`line_counts`].

pub mod badge;
pub mod changes;
pub mod cobertura;
pub mod gaps;
pub mod gate;
pub mod html;
pub mod json;
pub mod lcov;
pub mod markdown;
pub mod results;
pub mod sarif;
pub mod suites;
pub mod summary;

mod carried;
mod glob;
mod golang;
mod gomod;
mod ignore;
mod lines;
mod packages;
mod report;
mod sources;
mod text;

pub use carried::text_profile;
pub use glob::{Glob, Globs};
pub use golang::{FunctionExtent, functions, is_generated};
pub use gomod::{GoMod, Replacement};
pub use ignore::IgnoreComment;
pub use lines::line_counts;
pub use packages::{NoModule, import_pattern, without_data};
pub use report::{FileFunction, Filter, NoSource, Report, ReportFile};
pub use sources::{Found, MAX_FOLDERS, Module, Sources, resolve};
