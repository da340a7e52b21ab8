//! An archive of a container's coverage files, on its way.

use bytes::Bytes;
use podcov_cluster::{Cluster, Error, Exec, Output, Target};
use podcov_control::Lives;

use crate::agent::{Agent, Coverage, Failed};

/// Where it comes from.
pub enum ArchiveStream {
    /// An exec whose standard output is the archive.
    Exec {
        /// What of it has come already.
        begun: Bytes,
        /// What brings the rest.
        exec: Box<Exec>,
    },
    /// The container's podcov-agent.
    Agent(Coverage),
}

/// Why an agent gives no archive.
#[derive(Debug)]
pub enum NoArchive {
    /// The container has no agent, for this reason.
    NoAgent(String),
    /// It could not be reached.
    Unreachable(Error),
    /// It said this.
    Said(String),
}

impl ArchiveStream {
    /// From an exec that has said `begun`.
    #[must_use]
    pub fn begun(begun: Bytes, exec: Exec) -> Self {
        Self::Exec { begun, exec: Box::new(exec) }
    }

    /// Asks the container's podcov-agent for it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn from_agent(cluster: &Cluster, target: &Target) -> Result<Self, NoArchive> {
        let asked = async { Agent::connect(cluster, target).await?.coverage(None).await };
        asked.await.map(Self::Agent).map_err(|failed| match failed {
            Failed::NoAgent(why) => NoArchive::NoAgent(why),
            Failed::Cluster(error) => NoArchive::Unreachable(error),
            Failed::Said(what) => NoArchive::Said(what),
        })
    }

    /// The next piece of output; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Output>, Error> {
        match self {
            Self::Exec { begun, .. } if !begun.is_empty() => Ok(Some(Output::Stdout(std::mem::take(begun)))),
            Self::Exec { exec, .. } => exec.next().await,
            Self::Agent(coverage) => Ok(coverage.next().await?.map(Output::Stdout)),
        }
    }

    /// The exit code of what has sent it, once there is no more output: 0 for an agent.
    ///
    /// # Errors
    /// When how it ended did not come.
    pub fn code(&mut self) -> Result<i32, Error> {
        match self {
            Self::Exec { exec, .. } => exec.ended().map(|end| end.code),
            Self::Agent(_) => Ok(0),
        }
    }

    /// The processes of the program that have ended, if an agent sends it.
    #[must_use]
    pub fn lives(&self) -> Option<&Lives> {
        match self {
            Self::Exec { .. } => None,
            Self::Agent(coverage) => Some(&coverage.lives),
        }
    }

    /// Whether it is an agent's.
    #[must_use]
    pub fn is_agents(&self) -> bool {
        matches!(self, Self::Agent(_))
    }
}
