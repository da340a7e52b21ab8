//! One container's files: transferred, and unpacked as they arrive.

use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::Result;
use podcov_cluster::{Cluster, CoverDir, CoverVolume, Target};
use podcov_control::EndedProcesses;
use podcov_reach::{ArchiveStream, Builds, Fault, Transfer, no_files};
use podcov_unpack::{Rules, Unpacked, unpack};
use tokio::io::AsyncWriteExt;
use tokio_util::io::SyncIoBridge;
use tokio_util::task::TaskTracker;

use crate::manifest::{Collected, report_folder};

/// The largest file that is taken, and the most entries: far above any real program's.
pub(crate) const MAX_FILE: u64 = 256 << 20;
pub(crate) const MAX_ENTRIES: usize = 1_000_000;

/// How much of a stream may wait to be unpacked, in bytes.
const WAITING: usize = 256 << 10;

/// How many names a message has.
const NAMED: usize = 3;

/// How containers are collected.
pub(crate) struct Collector<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) transfer: Transfer<'a>,
    /// The image of ephemeral containers, if programs' memory is to be read.
    pub(crate) live_image: Option<&'a str>,
    /// What is read once for each build.
    pub(crate) builds: &'a Builds,
    /// The folder of coverage files was named for all containers.
    pub(crate) same_folder: bool,
    /// The report's staging folder.
    pub(crate) staging: &'a Path,
    pub(crate) rules: Rules,
    /// What unpacks: so that an interrupted run can wait until nobody writes any more.
    pub(crate) tracker: &'a TaskTracker,
}

impl Collector<'_> {
    /// Collects one container. What could not be copied is in [`Collected::losses`].
    ///
    /// # Errors
    /// When the staging folder cannot be written.
    pub(crate) async fn collect(&self, target: &Target) -> Result<Collected> {
        let container = &target.container;
        let folder = report_folder(&container.namespace, &container.pod, &container.container);
        let mut collected = Collected::new(container, folder);
        collected.may_share_folder =
            matches!(target.volume, CoverVolume::HostPath | CoverVolume::Claim | CoverVolume::Other);
        // The memory first: what ends meanwhile has left a file.
        if self.reads_memory(target) {
            self.collect_from_memory(target, &mut collected).await?;
        }
        if target.runs && target.dir != CoverDir::Unset {
            self.collect_files(target, &mut collected).await?;
        }
        collected.files.sort();
        collected.files.dedup();
        collected.losses.extend(collected.agent_lives.as_ref().and_then(EndedProcesses::loss));
        Ok(collected)
    }

    /// Whether what its programs have counted comes from their memory: a sidecar reads that without being asked for.
    fn reads_memory(&self, target: &Target) -> bool {
        self.live_image.is_some() || target.sidecar.is_some()
    }

    async fn collect_from_memory(&self, target: &Target, collected: &mut Collected) -> Result<()> {
        let take = async |mut stream: ArchiveStream| {
            let live = stream.live.take();
            let taken = self.take(target, stream, collected, true).await;
            if let (Ok(Ok(())), Some(live)) = (&taken, live) {
                collected.losses.extend(live.missing);
                collected.live = live.processes;
            }
            taken
        };
        let transferred =
            podcov_reach::snapshot(self.cluster, target, self.live_image, self.builds, self.transfer, take)
                .await;
        transferred.taken.transpose()?;
        transferred.way.clone_into(&mut collected.live_way);
        collected.losses.extend(transferred.loss);
        Ok(())
    }

    async fn collect_files(&self, target: &Target, collected: &mut Collected) -> Result<()> {
        let beside = self.live_image.is_some();
        // What was read from memory may be all; and a folder that is named for all containers is not in each of them.
        let maybe_none = self.reads_memory(target)
            && (!collected.live.is_empty() || self.same_folder && collected.losses.is_empty());
        let transfer = Transfer { maybe_none, beside, ..self.transfer };
        let take = async |mut stream: ArchiveStream| {
            if let Some(lives) = stream.lives.take() {
                collected.agent_lives = Some(lives);
            }
            self.take(target, stream, collected, transfer.maybe_none).await
        };
        let transferred = podcov_reach::transfer(self.cluster, target, transfer, take).await;
        transferred.taken.transpose()?;
        transferred.way.clone_into(&mut collected.way);
        collected.attempts = transferred.tries;
        collected.losses.extend(transferred.loss);
        Ok(())
    }

    /// Unpacks an archive that comes.
    async fn take(
        &self,
        target: &Target,
        stream: ArchiveStream,
        collected: &mut Collected,
        maybe_none: bool,
    ) -> Result<io::Result<()>, Fault> {
        let folder = self.staging.join(&collected.folder);
        let (rules, coverage_alone) = (self.rules, stream.coverage_alone);
        let unpacking = move |archive| unpack(archive, &folder, rules, coverage_alone);
        let (unpacked, cut, size) = match unpacked(stream, self.tracker, unpacking).await? {
            (Ok(unpacked), cut, size) => (unpacked, cut, size),
            (Err(disk), ..) => return Ok(Err(disk)),
        };
        if maybe_none && size == 0 && cut.is_none() {
            return Ok(Ok(()));
        }
        collected.gzip |= unpacked.gzip;
        // What an earlier try brought is whole, and stays. A snapshot may have come again.
        collected.files.retain(|file| unpacked.files.iter().all(|newer| newer.name != file.name));
        collected.files.extend(unpacked.files.iter().cloned());
        fault(target, &unpacked, cut, maybe_none).map_or(Ok(Ok(())), Err)
    }
}

/// Unpacks a stream as it arrives: what came out of it, or why the disk did not take it; why the stream ended too early; and
/// how many bytes it had.
async fn unpacked(
    mut stream: ArchiveStream,
    tracker: &TaskTracker,
    unpack: impl FnOnce(BufReader<Box<dyn Read + Send>>) -> io::Result<Unpacked> + Send + 'static,
) -> Result<(io::Result<Unpacked>, Option<Fault>, usize), Fault> {
    let (mut pieces, archive) = tokio::io::duplex(WAITING);
    let archive: Box<dyn Read + Send> = Box::new(SyncIoBridge::new(archive));
    let unpacking = tracker.spawn_blocking(move || unpack(BufReader::with_capacity(WAITING, archive)));
    let mut size = 0;
    let cut = loop {
        match stream.next().await {
            // What unpacks has seen enough when it reads no more.
            Ok(Some(piece)) if pieces.write_all(&piece).await.is_err() => break None,
            Ok(Some(piece)) => size += piece.len(),
            Ok(None) => break None,
            Err(fault) => break Some(fault),
        }
    };
    drop(pieces);
    match unpacking.await {
        Ok(unpacked) => Ok((unpacked, cut, size)),
        // A fault of ours, which must not cost the other containers.
        Err(panic) => Err(Fault::Final(format!(
            "its archive could not be unpacked ({panic}); this is a fault of podcov-collect's"
        ))),
    }
}

/// What is missing after a try: one fault, the gravest.
fn fault(target: &Target, unpacked: &Unpacked, cut: Option<Fault>, maybe_none: bool) -> Option<Fault> {
    if !unpacked.refused.is_empty() {
        return Some(Fault::Final(format!("refused: {}", list(&unpacked.refused))));
    }
    if cut.is_some() {
        return cut;
    }
    if !unpacked.corrupt.is_empty() {
        return Some(Fault::Passing(list(&unpacked.corrupt)));
    }
    if let Some(why) = &unpacked.cut {
        return Some(Fault::Passing(format!("the stream was cut: {why}")));
    }
    (unpacked.files.is_empty() && !maybe_none).then(|| Fault::Final(no_files(target)))
}

/// The first of the texts, and how many more there are.
fn list(texts: &[String]) -> String {
    let named = texts.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match texts.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;

    fn archive(pieces: Vec<Result<Bytes, Fault>>) -> ArchiveStream {
        ArchiveStream::new("a", stream::iter(pieces))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_while_unpacking_is_a_fault_of_this_container_alone() {
        let tracker = TaskTracker::new();
        let stream = archive(vec![Ok(Bytes::from_static(b"x"))]);
        let failed = unpacked(stream, &tracker, |_| panic!("a bug")).await;
        let Err(Fault::Final(why)) = failed else { panic!("{failed:?}") };
        assert!(why.contains("could not be unpacked") && why.contains("a bug"), "{why}");
        // The next one's is unpacked.
        let stream = archive(vec![Ok(Bytes::from_static(b"ab")), Ok(Bytes::from_static(b"c"))]);
        let read = |mut archive: BufReader<Box<dyn Read + Send>>| {
            let mut text = String::new();
            archive.read_to_string(&mut text)?;
            Ok(Unpacked { other: text.len(), ..Unpacked::default() })
        };
        let (read, cut, size) = unpacked(stream, &tracker, read).await.unwrap();
        assert_eq!((read.unwrap().other, cut, size), (3, None, 3));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stream_that_breaks_is_not_whole_whatever_came() {
        let broken = Fault::Passing("the stream was cut: closed".to_owned());
        let stream = archive(vec![Ok(Bytes::from_static(b"ab")), Err(broken.clone())]);
        let (unpacked, cut, _) =
            unpacked(stream, &TaskTracker::new(), |_| Ok(Unpacked::default())).await.unwrap();
        assert!(unpacked.is_ok());
        assert_eq!(cut, Some(broken));
    }
}
