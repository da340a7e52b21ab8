//! The hooks against the embedded cluster, as whole programs.

mod access;
mod agent;
mod collect;
mod command;
mod dry_run;
mod errors;
mod files;
mod forward;
mod losses;
mod output;
mod run;
mod secrets;
mod signal;
mod support;
mod together;
mod ways;
