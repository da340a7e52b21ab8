//! What the hooks and podcov-agent say to each other.
//!
//! The hooks reach the agent's control endpoint through a port-forward. They ask [`Request::Identity`] first: the answer
//! is an [`Introduction`], which says whose agent this is and, where a token is set, proves that the agent has it. Only
//! then do they ask anything else, and they prove in turn that they have the token ([`Token::sign`]). The token itself is
//! never sent. This crate does no I/O, so both sides can be tested against each other without a network.

mod address;
mod answer;
mod identity;
mod live_process;
mod lives;
mod request;
mod signal;
mod token;

pub use address::{ControlAddress, NotAnAddress};
pub use answer::{Flushed, Health, ProgramState, Refused, Stopped, WasReset};
pub use identity::{AGENT, ExpectedIdentity, Identity, Introduction, Mismatch};
pub use live_process::LiveProcess;
pub use lives::{EndedProcess, EndedProcesses};
pub use request::{Action, NotARequest, Request};
pub use signal::{NotASignal, Signal};
pub use token::{Nonce, NotANonce, SCHEME, Token};

/// The variable with the token, the same for hooks and agent.
pub const TOKEN: &str = "PODCOV_TOKEN";

/// The variable with the address of the control endpoint.
pub const CONTROL: &str = "PODCOV_CONTROL";

/// The port of the control endpoint where nothing names another.
pub const DEFAULT_PORT: u16 = 19998;

/// The header of an answer with coverage that has the agent's [`EndedProcesses`], in JSON.
pub const LIVES: &str = "podcov-lives";

/// The header of a snapshot that has its [`LiveProcess`]es, a list in JSON.
pub const PROCESSES: &str = "podcov-processes";

/// The header of a snapshot that lacks something: what it lacks and why, a list of sentences in JSON.
pub const MISSING: &str = "podcov-missing";
