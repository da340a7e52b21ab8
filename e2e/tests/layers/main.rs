//! The layers of the workspace: which crate may use which, and that no modules of a crate use each other in a circle.

mod circles;
mod crates;
mod modules;
mod tokens;
