//! Which ways to try for a container and a wish, and in which order.

use podcov_cluster::{CoverDir, Target};
use podcov_control::Ask;

use crate::process::ProcessFilter;
use crate::source::Way;
use crate::wish::Wish;
use crate::{agent, shell, tar};

/// The ways to try, the likeliest first. An agent that the container's spec does not mention may be in its image.
pub(crate) fn plan(target: &Target, wish: &Wish<'_>) -> Vec<Way> {
    let request = wish.request();
    let stop = request.is_some_and(|request| request.ask == Ask::Stop);
    // The agent signals its own program and no other process.
    let by_agent = stop || request.is_none_or(|request| request.processes == ProcessFilter::Covered);
    let (agent, expected) = (by_agent && (stop || target.agent.is_some()), stop || target.expects_agent());
    let archive_alone = matches!(wish, Wish::Archive(None));
    let by_tar = archive_alone && matches!(target.dir, CoverDir::Path(_));
    [
        (agent && expected, agent::WAY),
        (!stop, shell::WAY),
        (by_tar, tar::WAY),
        (agent && !expected, agent::WAY),
        (agent && expected && archive_alone, agent::LAST_WAY),
    ]
    .into_iter()
    .filter_map(|(serves, way)| serves.then_some(way))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use podcov_cluster::{AgentPort, Container, CoverVolume};

    use super::*;
    use crate::wish::Request;

    /// A container whose agent, if any, its spec mentions or not.
    fn target(dir: CoverDir, agent: Option<bool>) -> Target {
        Target {
            container: Container {
                namespace: "shop".into(),
                pod: "cart-1".into(),
                uid: "u".into(),
                container: "app".into(),
                image: "i".into(),
                image_id: "i".into(),
                restarts: 0,
            },
            dir,
            volume: CoverVolume::Unknown,
            shares_process_ids: false,
            hostname: None,
            agent: agent.map(|expected| AgentPort { port: 1, expected, sure: true }),
            history: Default::default(),
        }
    }

    #[test]
    fn the_ways_for_each_wish() {
        let path = CoverDir::Path("/cov".into());
        let request = |ask, processes| Request { ask, processes, timeout: Duration::ZERO };
        let usr1 = Ask::Flush { signal: None };
        let covered = request(usr1, ProcessFilter::Covered);
        let one = request(usr1, ProcessFilter::Id(7));
        let stop = request(Ask::Stop, ProcessFilter::Covered);
        let (flush, archive) = (Wish::Flush, Wish::Archive);
        // An agent that listens nowhere, one that may be there, and one that the spec mentions.
        for (wish, dir, off, maybe, expected) in [
            (
                archive(None),
                &path,
                "exec-sh-tar exec-tar",
                "exec-sh-tar exec-tar agent",
                "agent exec-sh-tar exec-tar agent",
            ),
            (archive(None), &CoverDir::Env, "exec-sh-tar", "exec-sh-tar agent", "agent exec-sh-tar agent"),
            (archive(Some(covered)), &path, "exec-sh-tar", "exec-sh-tar agent", "agent exec-sh-tar"),
            (archive(Some(one)), &path, "exec-sh-tar", "exec-sh-tar", "exec-sh-tar"),
            (archive(Some(stop)), &path, "agent", "agent", "agent"),
            (flush(covered), &path, "exec-sh-tar", "exec-sh-tar agent", "agent exec-sh-tar"),
            (flush(one), &path, "exec-sh-tar", "exec-sh-tar", "exec-sh-tar"),
            (flush(stop), &CoverDir::Env, "agent", "agent", "agent"),
        ] {
            for (agent, ways) in [(None, off), (Some(false), maybe), (Some(true), expected)] {
                let planned = plan(&target(dir.clone(), agent), &wish);
                let names: Vec<_> = planned.iter().map(|way| way.name).collect();
                assert_eq!(names.join(" "), ways, "{wish:?} {dir} {agent:?}");
            }
        }
    }
}
