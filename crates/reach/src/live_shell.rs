//! The ways to the memory of a container's programs by a shell: the container's own, or that of an ephemeral container
//! beside it.

use bytes::Bytes;
use covdata::{FileName, MetaFile};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use podcov_cluster::{Cluster, Error, Form, Target, User};

use crate::archive::{ArchiveStream, LiveFacts};
use crate::builds::Builds;
use crate::fault::Fault;
use crate::goal::Goal;
use crate::live::{self, Live};
use crate::memory::{Listed, Memory, MemoryError, Overview, Place};
use crate::prospect::{CoveredProgram, Prospect, describe_process};
use crate::way::{Way, WayKind};

/// The way by the container's own shell.
pub(crate) const OWN_SHELL: WayKind = WayKind {
    name: "exec-sh-dd",
    create: |cluster, target, goal| {
        let Goal::Snapshot { builds, .. } = goal else {
            unreachable!("no plan has this way for another goal")
        };
        Box::new(OwnShell { cluster, target, builds, opened: None })
    },
};

/// The way by an ephemeral container.
pub(crate) const EPHEMERAL: WayKind = WayKind {
    name: "ephemeral",
    create: |cluster, target, goal| {
        let Goal::Snapshot { image, builds } = goal else {
            unreachable!("no plan has this way for another goal")
        };
        Box::new(Beside { cluster, target, builds, image: image.expect("the plan has looked") })
    },
};

struct OwnShell<'a> {
    cluster: &'a Cluster,
    target: &'a Target,
    builds: &'a Builds,
    opened: Option<(Memory, Overview)>,
}

impl OwnShell<'_> {
    /// Reads the programs' memory. One that must not be read makes the way absent.
    async fn read(&mut self) -> Result<Live, Fault> {
        let (mut memory, overview) =
            self.opened.take().ok_or_else(|| Fault::Passing("the shell does not run".to_owned()))?;
        let live = read(self.target, &mut memory, &overview, self.builds).await?;
        match live.refused.first().filter(|_| is_refused(&live)) {
            Some(one) => Err(refusal(one, &overview)),
            None => Ok(live),
        }
    }
}

impl Way for OwnShell<'_> {
    fn name(&self) -> &'static str {
        OWN_SHELL.name
    }

    fn open(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        async {
            let Target { container, shares_process_ids, .. } = self.target;
            let opened = Memory::open(self.cluster, container, Place::Own, *shares_process_ids).await;
            self.opened = Some(opened.map_err(fault)?);
            Ok(())
        }
        .boxed()
    }

    fn archive(&mut self) -> BoxFuture<'_, Result<Option<ArchiveStream>, Fault>> {
        async { archive(OWN_SHELL.name, self.read().await?).map(Some) }.boxed()
    }

    fn examine(&mut self, _may_add: bool) -> BoxFuture<'_, Result<Prospect, Fault>> {
        async { Ok(prospect(self.read().await?)) }.boxed()
    }
}

struct Beside<'a> {
    cluster: &'a Cluster,
    target: &'a Target,
    builds: &'a Builds,
    image: &'a str,
}

impl Way for Beside<'_> {
    fn name(&self) -> &'static str {
        EPHEMERAL.name
    }

    fn open(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        async { Ok(()) }.boxed()
    }

    fn archive(&mut self) -> BoxFuture<'_, Result<Option<ArchiveStream>, Fault>> {
        async {
            let live = self.read(true).await?.expect("a container was added where none was");
            archive(EPHEMERAL.name, live).map(Some)
        }
        .boxed()
    }

    fn examine(&mut self, may_add: bool) -> BoxFuture<'_, Result<Prospect, Fault>> {
        async move {
            let live = self.read(may_add).await?;
            Ok(live.map_or(Prospect { is_unseen: true, ..Prospect::default() }, prospect))
        }
        .boxed()
    }
}

impl Beside<'_> {
    /// Reads as the user that the pod tells; else as the one that its processes then turn out to have; else as root. `None` if
    /// an ephemeral container would have to be added for that, which would be admitted, and none may be.
    async fn read(&self, may_add: bool) -> Result<Option<Live>, Fault> {
        let mut form = Form::Same(None);
        let mut refused = None;
        loop {
            let (live, overview) = match (self.read_as(form, may_add).await, refused.take()) {
                (Ok(Some(read)), _) => read,
                (Ok(None), _) => return Ok(None),
                (Err(Fault::Passing(why)), _) => return Err(Fault::Passing(why)),
                (Err(fault), None) => return Err(fault),
                (Err(fault), Some(why)) => return Err(Fault::Absent(format!("{why}; {fault}"))),
            };
            let Some(one) = live.refused.first().filter(|_| is_refused(&live)) else { return Ok(Some(live)) };
            let why = refusal(one, &overview);
            form = match form {
                _ if matches!(why, Fault::Final(_)) => return Err(why),
                Form::Same(None) if overview.user != Some((one.uid, one.gid)) => {
                    Form::Same(Some(User { uid: one.uid.into(), gid: one.gid.into() }))
                }
                Form::Same(_) => Form::Tracer,
                Form::Tracer => return Err(why),
            };
            refused = Some(why);
        }
    }

    async fn read_as(&self, form: Form, may_add: bool) -> Result<Option<(Live, Overview)>, Fault> {
        let Target { container, shares_process_ids, .. } = self.target;
        let ephemeral = match may_add {
            true => self.cluster.ephemeral(container, self.image, form).await.map(Some),
            false => self.cluster.check_ephemeral(container, self.image, form).await,
        };
        let Some(ephemeral) = ephemeral.map_err(|error| Fault::of(&error))? else { return Ok(None) };
        if *shares_process_ids && ephemeral.beside_id.is_empty() {
            let why = "the pod's status does not tell the container's ID, so its processes cannot be told from others";
            return Err(Fault::Absent(why.to_owned()));
        }
        let place = Place::Beside(&ephemeral.beside_id);
        let opened = Memory::open(self.cluster, &ephemeral.container, place, *shares_process_ids).await;
        let (mut memory, overview) = opened.map_err(|error| match fault(error) {
            Fault::Absent(why) => Fault::Absent(format!("{why} (in the image {})", self.image)),
            fault => fault,
        })?;
        let live = read(self.target, &mut memory, &overview, self.builds).await?;
        Ok(Some((live, overview)))
    }
}

async fn read(
    target: &Target,
    memory: &mut Memory,
    overview: &Overview,
    builds: &Builds,
) -> Result<Live, Fault> {
    if overview.processes.is_empty() {
        // A container that runs has a process.
        let why = "none of the processes that are seen is known to be the container's own";
        return Err(Fault::Absent(why.to_owned()));
    }
    let live = live::read(memory, overview, builds).await.map_err(fault)?;
    let Memory { trips, reads, bytes, .. } = memory;
    tracing::debug!(trips, reads, bytes, "{}: read the memory of its processes", target.container);
    Ok(live)
}

fn fault(error: MemoryError) -> Fault {
    match error {
        MemoryError::Exec(Error::NoProgram { .. }) => Fault::Absent("the image has no shell".to_owned()),
        // An ephemeral container would be of no use.
        MemoryError::Exec(error @ Error::Refused { code: 403, .. }) => match Fault::of(&error) {
            Fault::Absent(why) => Fault::Final(why),
            fault => fault,
        },
        MemoryError::Exec(error) => Fault::of(&error),
        MemoryError::NoDd => Fault::Absent("the image has no dd".to_owned()),
        MemoryError::Ended(code, said) => {
            Fault::Passing(format!("the shell ended with exit code {code}: {said}"))
        }
    }
}

/// Whether nothing could be read, and another user may.
fn is_refused(live: &Live) -> bool {
    live.processes.is_empty() && !live.refused.is_empty()
}

/// That a process must not be read, and why. Where nobody may, no other way is tried, and no container added.
fn refusal(one: &Listed, overview: &Overview) -> Fault {
    let why = match (overview.ptrace_scope, overview.user) {
        (Some(3), _) => "on this node (kernel.yama.ptrace_scope is 3) nobody may".to_owned(),
        (Some(2), Some((uid, _))) if uid != 0 => {
            "on this node (kernel.yama.ptrace_scope is 2) only root with SYS_PTRACE may".to_owned()
        }
        (_, Some((uid, gid))) if (uid, gid) != (one.uid, one.gid) => {
            format!("it runs as user {}:{}, and the shell as {uid}:{gid}", one.uid, one.gid)
        }
        (Some(1), _) => {
            "on this node (kernel.yama.ptrace_scope is 1) only its parent or root with SYS_PTRACE may"
                .to_owned()
        }
        _ => "the shell has fewer rights".to_owned(),
    };
    let why = format!("the memory of process {} must not be read: {why}", one.pid);
    if overview.ptrace_scope == Some(3) { Fault::Final(why) } else { Fault::Absent(why) }
}

/// What was read, in short.
fn prospect(live: Live) -> Prospect {
    let covered = live.processes.into_iter().map(|process| {
        let meta = match process.counters.parse() {
            Ok(FileName::Counters { hash, .. }) => live.files.get(&FileName::Meta { hash }.to_string()),
            _ => None,
        };
        let mode = meta.and_then(|bytes| MetaFile::parse(bytes).ok()).map(|meta| meta.mode);
        CoveredProgram { process: describe_process(&process), go: process.go, module: process.module, mode }
    });
    let covered = covered.collect();
    let refused =
        live.refused.iter().map(|one| format!("the memory of process {} must not be read", one.pid));
    let missing = live.missing.into_iter().chain(refused).collect();
    Prospect { covered, others: live.others, missing, ..Prospect::default() }
}

/// What was read, as other ways send it.
fn archive(way: &'static str, mut live: Live) -> Result<ArchiveStream, Fault> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in &live.files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, name, bytes.as_slice())
            .map_err(|error| Fault::Final(error.to_string()))?;
    }
    let archive = archive.into_inner().map_err(|error| Fault::Final(error.to_string()))?;
    for one in &live.refused {
        live.missing.push(format!("the memory of process {} must not be read", one.pid));
    }
    let mut stream = ArchiveStream::new(way, stream::iter([Ok(Bytes::from(archive))]));
    stream.live = Some(LiveFacts { processes: live.processes, missing: live.missing });
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the modes mean: `ptrace_scope` in Linux's `Documentation/admin-guide/LSM/Yama.rst`.
    #[test]
    fn who_may_read_where_the_node_restricts_it() {
        let one = Listed { pid: 7, uid: 65532, gid: 65532, ..Listed::default() };
        let refused = |ptrace_scope, user| match refusal(
            &one,
            &Overview { ptrace_scope, user: Some(user), ..Overview::default() },
        ) {
            Fault::Final(why) => format!("final: {why}"),
            fault => fault.to_string(),
        };
        let (same, other, root) = ((65532, 65532), (1000, 1000), (0, 0));
        let scope = |number: u32| format!("on this node (kernel.yama.ptrace_scope is {number})");
        for (ptrace_scope, user, begin, why) in [
            (None, same, "", "the shell has fewer rights".to_owned()),
            (Some(0), same, "", "the shell has fewer rights".to_owned()),
            (Some(0), other, "", "it runs as user 65532:65532, and the shell as 1000:1000".to_owned()),
            (Some(1), same, "", format!("{} only its parent or root with SYS_PTRACE may", scope(1))),
            (Some(1), other, "", "it runs as user 65532:65532, and the shell as 1000:1000".to_owned()),
            (Some(2), same, "", format!("{} only root with SYS_PTRACE may", scope(2))),
            (Some(2), other, "", format!("{} only root with SYS_PTRACE may", scope(2))),
            (Some(2), root, "", "it runs as user 65532:65532, and the shell as 0:0".to_owned()),
            (Some(3), same, "final: ", format!("{} nobody may", scope(3))),
            (Some(3), root, "final: ", format!("{} nobody may", scope(3))),
        ] {
            let expected = format!("{begin}the memory of process 7 must not be read: {why}");
            assert_eq!(refused(ptrace_scope, user), expected, "{ptrace_scope:?} {user:?}");
        }
    }
}
