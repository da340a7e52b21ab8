//! The way by a podcov-agent in the container, asked over a port-forward. It can make the program shut down gracefully too.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use podcov_cluster::{Cluster, Target};
use podcov_control::{Action, Flushed, Request, Stopped};
use tokio::time::Instant;

use crate::archive::{ArchiveStream, LiveFacts};
use crate::client::{Client, ConnectError, RequestError};
use crate::fault::Fault;
use crate::goal::Goal;
use crate::names;
use crate::prospect::{CoveredProgram, Prospect, describe_process};
use crate::way::{Way, WayKind, WrittenCounters};

/// How much longer than a program an agent gets: it knows better why nothing came.
const GRACE: Duration = Duration::from_secs(5);

/// How long an agent that the container's spec mentions may refuse connections until it counts as absent. The kubelet
/// may be starting its container again, of which the pod's status tells a second or two late.
const REFUSAL_LIMIT: Duration = Duration::from_secs(5);

const NOTHING_LISTENS: &str = "no podcov-agent: nothing listens there";

/// The way. An agent that may be about to listen is waited for before a shell signals its program.
pub(crate) const AGENT: WayKind = WayKind {
    name: "agent",
    create: |cluster, target, goal| {
        // There must be time left to try the next way.
        let limit = goal
            .instruction()
            .map_or(Duration::ZERO, |instruction| REFUSAL_LIMIT.min(instruction.timeout / 2));
        Box::new(Agent::new(cluster, target, goal, limit))
    },
};

/// The same way once more, where no other leads to the files: the agent may be about to listen.
pub(crate) const AGENT_AT_LAST: WayKind = WayKind {
    create: |cluster, target, goal| Box::new(Agent::new(cluster, target, goal, REFUSAL_LIMIT)),
    ..AGENT
};

/// The way by the agent of a sidecar, which has what the programs have counted that have ended too.
pub(crate) const SIDECAR: WayKind = WayKind {
    name: "sidecar",
    create: |cluster, target, goal| {
        Box::new(Agent { beside: true, ..Agent::new(cluster, target, goal, REFUSAL_LIMIT) })
    },
};

struct Agent<'a> {
    /// It is that of the target's sidecar.
    beside: bool,
    cluster: &'a Cluster,
    target: &'a Target,
    goal: Goal<'a>,
    /// Until when a refused connection may be that of an agent which is about to listen.
    refusal_deadline: Instant,
    /// The agent may have been asked to do something to the program. It is asked once: a program that has just been started
    /// again would be stopped again, or flushed twice.
    asked: bool,
    client: Option<Client>,
}

impl Way for Agent<'_> {
    fn name(&self) -> &'static str {
        if self.beside { SIDECAR.name } else { AGENT.name }
    }

    fn open(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        async {
            if self.asked {
                return Err(self.lost("the time was over"));
            }
            let connected = if self.beside {
                Client::connect_beside(self.cluster, self.target).await
            } else {
                Client::connect(self.cluster, self.target).await
            };
            let is_expected = self.beside || self.target.expects_agent();
            let client = connected.map_err(|error| match error {
                ConnectError::NothingListens if is_expected && Instant::now() < self.refusal_deadline => {
                    Fault::Passing(NOTHING_LISTENS.to_owned())
                }
                ConnectError::NothingListens => Fault::Absent(NOTHING_LISTENS.to_owned()),
                ConnectError::Other(fault) => fault,
            });
            self.client = Some(client.map_err(|fault| self.without_agent(fault))?);
            Ok(())
        }
        .boxed()
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<WrittenCounters, Fault>> {
        async {
            let mut client = self.client()?;
            let action = self.action().expect("a goal to flush says how");
            let request = Request::Do(action);
            if let Action::Flush { .. } = action {
                let Flushed { files } = self.once(client.json(&request)).await?;
                // The agent has read them.
                return Ok(WrittenCounters { files, verified: true, ..WrittenCounters::default() });
            }
            let Stopped { exit_code, counters_written } = self.once(client.json(&request)).await?;
            if counters_written {
                return Ok(WrittenCounters { verified: true, ..WrittenCounters::default() });
            }
            Err(Fault::Final(format!(
                "the program has ended (exit code {exit_code}) and wrote no counters then; does it handle the stop signal?"
            )))
        }
        .boxed()
    }

    fn examine(&mut self, _may_add: bool) -> BoxFuture<'_, Result<Prospect, Fault>> {
        async {
            let Some(version) = self.client.as_ref().map(|client| client.version.clone()) else {
                return Err(Fault::Passing("there is no connection to podcov-agent".to_owned()));
            };
            let agent = Some(version);
            if self.goal.instruction().is_some() {
                return Ok(Prospect { agent, ..Prospect::default() });
            }
            if matches!(self.goal, Goal::Files { .. }) {
                let stream = self.archive().await?.expect("the files that are there are an archive");
                let files = Some(names::in_archive(stream).await?);
                return Ok(Prospect { agent, files, ..Prospect::default() });
            }
            let stream = self.archive().await?.expect("a snapshot is an archive");
            let LiveFacts { processes, missing } = stream.live.unwrap_or_default();
            let covered = processes.into_iter().map(|process| CoveredProgram {
                process: describe_process(&process),
                go: process.go,
                module: process.module,
                mode: None,
            });
            Ok(Prospect { covered: covered.collect(), missing, agent, ..Prospect::default() })
        }
        .boxed()
    }

    fn archive(&mut self) -> BoxFuture<'_, Result<Option<ArchiveStream>, Fault>> {
        async {
            let client = self.client()?;
            let request = match self.goal {
                Goal::Snapshot { .. } => Request::Snapshot {
                    container: self.beside.then(|| self.target.container.container.clone()),
                },
                _ => Request::Coverage(self.action()),
            };
            let asked = self.once(client.archive(&request)).await;
            let (facts, pieces) = asked.map_err(|fault| match fault {
                // An older one cannot do that, or its program must not be read: another way may be open.
                Fault::Final(why) if matches!(request, Request::Snapshot { .. }) => Fault::Absent(why),
                fault => fault,
            })?;
            let mut stream = ArchiveStream::new(self.name(), pieces);
            stream.lives = facts.lives;
            stream.live = facts.live;
            Ok(Some(stream))
        }
        .boxed()
    }
}

impl<'a> Agent<'a> {
    fn new(cluster: &'a Cluster, target: &'a Target, goal: Goal<'a>, limit: Duration) -> Self {
        let refusal_deadline = Instant::now() + limit;
        Self { beside: false, cluster, target, goal, refusal_deadline, asked: false, client: None }
    }

    fn action(&self) -> Option<Action> {
        self.goal.instruction().map(|instruction| instruction.action)
    }

    fn client(&mut self) -> Result<Client, Fault> {
        self.client.take().ok_or_else(|| Fault::Passing("there is no connection to podcov-agent".to_owned()))
    }

    /// Makes a request. What is to be done to the program is asked for once, unless it provably was not sent.
    async fn once<T>(&mut self, request: impl Future<Output = Result<T, RequestError>>) -> Result<T, Fault> {
        let Some(limit) = self.goal.instruction().map(|instruction| instruction.timeout + GRACE) else {
            return request.await.map_err(|error| match error {
                RequestError::Unsent(why) | RequestError::Unanswered(why) => Fault::Passing(why),
                RequestError::Refused(why) => Fault::Final(why),
            });
        };
        self.asked = true;
        match tokio::time::timeout(limit, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(RequestError::Unsent(why))) => {
                self.asked = false;
                Err(Fault::Passing(why))
            }
            Ok(Err(RequestError::Unanswered(why))) => Err(self.lost(&why)),
            Ok(Err(RequestError::Refused(why))) => Err(Fault::Final(why)),
            Err(_) => Err(self.lost(&format!("nothing came for {}s", limit.as_secs_f32()))),
        }
    }

    /// That the agent was asked and its answer did not come.
    fn lost(&self, why: &str) -> Fault {
        let what = match self.action() {
            Some(Action::Stop) => "stop the program",
            _ => "have the program write its counters",
        };
        Fault::Final(format!("{why}; podcov-agent has been asked to {what}, and its answer did not come"))
    }

    /// Where nobody else can do it.
    fn without_agent(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Absent(why) if self.action() == Some(Action::Stop) => {
                Fault::Absent(format!("it takes podcov-agent to stop a program gracefully; {why}"))
            }
            fault => fault,
        }
    }
}
