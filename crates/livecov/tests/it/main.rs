//! Snapshots of real Go programs, compared with what they write themselves.

#![cfg(target_os = "linux")]

mod busy;
mod image;
mod programs;
mod quiet;
