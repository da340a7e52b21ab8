//! podcov-agent as a whole program, on this machine.

mod control;
mod folders;
mod interval;
mod local;
mod processes;
mod restart;
mod snapshot;
mod storage;
mod support;
mod watch;
