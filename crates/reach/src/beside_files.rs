//! The way to the files of a container whose image has neither shell nor tar: by the ephemeral container beside it that has
//! read its programs' memory.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use podcov_cluster::{Cluster, CoverDir, Error, Exec, Target};

use crate::archive::{ArchiveStream, tar_failed};
use crate::fault::Fault;
use crate::goal::Goal;
use crate::names;
use crate::prospect::Prospect;
use crate::session::{BESIDE_SCRIPT, NO_FILES, NO_FOLDER, NO_TAR, OURS_SCRIPT, without_comments};
use crate::shell::no_files;
use crate::tar::STALL;
use crate::way::{Way, WayKind};

const SCRIPT: &str = include_str!("beside_files.sh");

/// The script's exit codes: no process lets it into its file system; a link is on the way to the folder.
const REFUSED: i32 = 46;
const LINK: i32 = 47;

/// The way.
pub(crate) const BESIDE_FILES: WayKind = WayKind {
    name: "ephemeral-tar",
    create: |cluster, target, goal| Box::new(BesideFiles { cluster, target, goal, exec: None }),
};

struct BesideFiles<'a> {
    cluster: &'a Cluster,
    target: &'a Target,
    goal: Goal<'a>,
    exec: Option<Exec>,
}

impl Way for BesideFiles<'_> {
    fn name(&self) -> &'static str {
        BESIDE_FILES.name
    }

    fn open(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        async {
            let Target { container, dir: CoverDir::Path(dir), shares_process_ids, .. } = self.target else {
                return Err(Fault::Absent("only the container knows its GOCOVERDIR".to_owned()));
            };
            let found = self.cluster.find_ephemeral(container).await.map_err(|error| Fault::of(&error))?;
            let beside =
                found.ok_or_else(|| Fault::Absent("no ephemeral container is beside it".to_owned()))?;
            let shared = if *shares_process_ids { "shared" } else { "" };
            let none = if self.goal.maybe_none() { "0" } else { "" };
            let script = without_comments(&[names::sending(&self.goal), OURS_SCRIPT, BESIDE_SCRIPT, SCRIPT]);
            let command = ["sh", "-c", &script, "podcov", dir, "/proc", shared, &beside.beside_id, none];
            let exec = self.cluster.exec(&beside.container, &command, false, STALL).await;
            self.exec = Some(exec.map_err(|error| Fault::of(&error))?);
            Ok(())
        }
        .boxed()
    }

    fn examine(&mut self, _may_add: bool) -> BoxFuture<'_, Result<Prospect, Fault>> {
        async {
            let stream = self.archive().await?.expect("the shell sends names");
            Ok(Prospect { files: Some(names::in_lines(stream).await?), ..Prospect::default() })
        }
        .boxed()
    }

    fn archive(&mut self) -> BoxFuture<'_, Result<Option<ArchiveStream>, Fault>> {
        async {
            let exec = self.exec.take().ok_or_else(|| Fault::Passing("the shell does not run".to_owned()))?;
            let target = self.target.clone();
            let meaning = move |end: Result<(i32, &str), &Error>| match end {
                Ok((NO_FOLDER, _)) => Fault::Final(format!("there is no folder {}", target.dir)),
                Ok((NO_TAR, _)) => {
                    Fault::Absent("the image of the ephemeral container has no tar".to_owned())
                }
                Ok((NO_FILES, _)) => Fault::Final(no_files(&target)),
                Ok((REFUSED, _)) => {
                    Fault::Absent("the ephemeral container must not read the container's files".to_owned())
                }
                Ok((LINK, _)) => Fault::Absent(format!(
                    "{} has a symbolic link in it, which an ephemeral container cannot follow",
                    target.dir
                )),
                Ok((code, said)) => tar_failed(code, said),
                Err(Error::NoProgram { .. }) => {
                    Fault::Absent("the image of the ephemeral container has no shell".to_owned())
                }
                Err(error) => Fault::of(error),
            };
            Ok(Some(ArchiveStream::of_exec(BESIDE_FILES.name, Bytes::new(), exec, meaning)))
        }
        .boxed()
    }
}
