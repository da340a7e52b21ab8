//! Snapshots of real Go programs, compared with what they write themselves.

#![cfg(target_os = "linux")]

mod arm64;
mod busy;
mod image;
mod layout;
mod programs;
mod quiet;
