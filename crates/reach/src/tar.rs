//! The way by tar alone, for images without a shell: all of the folder, whose name must be known.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use podcov_cluster::{Cluster, CoverDir, Error, Exec, Target};

use crate::archive::{ArchiveStream, tar_failed};
use crate::fault::Fault;
use crate::goal::Goal;
use crate::names;
use crate::prospect::Prospect;
use crate::way::{Way, WayKind};

/// A tar that sends nothing for this long counts as broken.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// The way.
pub(crate) const TAR: WayKind = WayKind {
    name: "exec-tar",
    create: |cluster, target, goal| Box::new(Tar { cluster, target, goal, exec: None }),
};

struct Tar<'a> {
    cluster: &'a Cluster,
    target: &'a Target,
    goal: Goal<'a>,
    exec: Option<Exec>,
}

impl Way for Tar<'_> {
    fn name(&self) -> &'static str {
        TAR.name
    }

    fn open(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        async {
            let CoverDir::Path(dir) = &self.target.dir else {
                return Err(Fault::Absent("tar takes a folder's name; give it with --coverdir".to_owned()));
            };
            let command = ["tar", "-C", dir, "-cf", "-", "."];
            let exec = self.cluster.exec(&self.target.container, &command, false, STALL).await;
            self.exec = Some(exec.map_err(|error| Fault::of(&error))?);
            Ok(())
        }
        .boxed()
    }

    fn examine(&mut self, _may_add: bool) -> BoxFuture<'_, Result<Prospect, Fault>> {
        async {
            let stream = self.archive().await?.expect("tar sends an archive");
            Ok(Prospect { files: Some(names::in_archive(stream).await?), ..Prospect::default() })
        }
        .boxed()
    }

    fn archive(&mut self) -> BoxFuture<'_, Result<Option<ArchiveStream>, Fault>> {
        async {
            let exec = self.exec.take().ok_or_else(|| Fault::Passing("tar does not run".to_owned()))?;
            let maybe_none = self.goal.maybe_none();
            let meaning = move |end: Result<(i32, &str), &Error>| match end {
                // The folder may not be there, which others can tell.
                Ok((code, said)) if maybe_none => Fault::Absent(tar_failed(code, said).to_string()),
                Ok((code, said)) => tar_failed(code, said),
                Err(Error::NoProgram { .. }) => Fault::Absent("the image has no tar".to_owned()),
                Err(error) => Fault::of(error),
            };
            let mut stream = ArchiveStream::of_exec(TAR.name, Bytes::new(), exec, meaning);
            stream.coverage_alone = false;
            Ok(Some(stream))
        }
        .boxed()
    }
}
