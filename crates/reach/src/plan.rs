//! Which ways to try for a container and a goal, and in which order.

use podcov_cluster::{CoverDir, Target};
use podcov_control::Action;

use crate::goal::Goal;
use crate::process::ProcessFilter;
use crate::way::WayKind;
use crate::{agent, beside_files, live_shell, shell, tar};

/// The ways to try, the likeliest first. An agent that the container's spec does not mention may be in its image.
pub(crate) fn plan(target: &Target, goal: &Goal<'_>) -> Vec<WayKind> {
    let instruction = goal.instruction();
    let stop = instruction.is_some_and(|instruction| instruction.action == Action::Stop);
    // The agent signals its own program and no other process.
    let by_agent =
        stop || instruction.is_none_or(|instruction| instruction.processes == ProcessFilter::Covered);
    let (agent, expected) = (by_agent && (stop || target.agent.is_some()), stop || target.expects_agent());
    let files_alone = matches!(goal, Goal::Files { .. });
    let snapshot = matches!(goal, Goal::Snapshot { .. });
    // Of a container that does not run, its sidecar alone has something.
    let by_sidecar = snapshot && target.sidecar.is_some();
    if by_sidecar && (!target.runs || matches!(goal, Goal::Snapshot { image: None, .. })) {
        return vec![agent::SIDECAR];
    }
    let by_tar = files_alone && matches!(target.dir, CoverDir::Path(_));
    [
        (by_sidecar, agent::SIDECAR),
        (agent && expected, agent::AGENT),
        (snapshot, live_shell::OWN_SHELL),
        (!stop && !snapshot, shell::SHELL),
        (by_tar, tar::TAR),
        (agent && !expected, agent::AGENT),
        (by_tar && matches!(goal, Goal::Files { beside: true, .. }), beside_files::BESIDE_FILES),
        // Before a container is added to the pod.
        (agent && expected && snapshot, agent::AGENT_AT_LAST),
        (matches!(goal, Goal::Snapshot { image: Some(_), .. }), live_shell::EPHEMERAL),
        (agent && expected && files_alone, agent::AGENT_AT_LAST),
    ]
    .into_iter()
    .filter_map(|(serves, way)| serves.then_some(way))
    .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use podcov_cluster::{AgentPort, Container, CoverVolume, Sidecar};

    use super::*;
    use crate::builds::Builds;
    use crate::goal::Instruction;

    /// A container whose agent, if any, its spec mentions or not.
    pub(crate) fn target(dir: CoverDir, agent: Option<bool>) -> Target {
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
            uid_inside: "u".into(),
            hostname: None,
            sidecar: None,
            runs: true,
            agent: agent.map(|expected| AgentPort { port: 1, expected, sure: true }),
            history: Default::default(),
        }
    }

    #[test]
    fn the_ways_for_each_goal() {
        let path = CoverDir::Path("/cov".into());
        let instruction = |action, processes| Instruction { action, processes, timeout: Duration::ZERO };
        let usr1 = Action::Flush { signal: None };
        let covered = instruction(usr1, ProcessFilter::Covered);
        let one = instruction(usr1, ProcessFilter::Id(7));
        let stop = instruction(Action::Stop, ProcessFilter::Covered);
        let (flush, archive) = (Goal::Flush, Goal::Archive);
        let files = Goal::Files { maybe_none: false, beside: false, names_alone: false };
        let beside = Goal::Files { maybe_none: false, beside: true, names_alone: false };
        let builds = Builds::default();
        let snapshot = |image| Goal::Snapshot { image, builds: &builds };
        // An agent that listens nowhere, one that may be there, and one that the spec mentions.
        for (goal, dir, off, maybe, expected) in [
            (
                files,
                &path,
                "exec-sh-tar exec-tar",
                "exec-sh-tar exec-tar agent",
                "agent exec-sh-tar exec-tar agent",
            ),
            (
                beside,
                &path,
                "exec-sh-tar exec-tar ephemeral-tar",
                "exec-sh-tar exec-tar agent ephemeral-tar",
                "agent exec-sh-tar exec-tar ephemeral-tar agent",
            ),
            (
                Goal::Files { maybe_none: false, beside: true, names_alone: true },
                &path,
                "exec-sh-tar exec-tar ephemeral-tar",
                "exec-sh-tar exec-tar agent ephemeral-tar",
                "agent exec-sh-tar exec-tar ephemeral-tar agent",
            ),
            (files, &CoverDir::Env, "exec-sh-tar", "exec-sh-tar agent", "agent exec-sh-tar agent"),
            (archive(covered), &path, "exec-sh-tar", "exec-sh-tar agent", "agent exec-sh-tar"),
            (archive(one), &path, "exec-sh-tar", "exec-sh-tar", "exec-sh-tar"),
            (archive(stop), &path, "agent", "agent", "agent"),
            (
                snapshot(Some("busybox")),
                &path,
                "exec-sh-dd ephemeral",
                "exec-sh-dd agent ephemeral",
                "agent exec-sh-dd agent ephemeral",
            ),
            (flush(covered), &path, "exec-sh-tar", "exec-sh-tar agent", "agent exec-sh-tar"),
            (flush(one), &path, "exec-sh-tar", "exec-sh-tar", "exec-sh-tar"),
            (flush(stop), &CoverDir::Env, "agent", "agent", "agent"),
        ] {
            for (agent, ways) in [(None, off), (Some(false), maybe), (Some(true), expected)] {
                let planned = plan(&target(dir.clone(), agent), &goal);
                let names: Vec<_> = planned.iter().map(|way| way.name).collect();
                assert_eq!(names.join(" "), ways, "{goal:?} {dir} {agent:?}");
            }
        }
    }
    #[test]
    fn a_sidecar_is_asked_first_and_alone_where_nothing_else_may_be_tried() {
        let sidecar = Some(Sidecar { container: "podcov".into(), port: 19998 });
        let running = Target { sidecar, ..target(CoverDir::Path("/cov".into()), None) };
        let over = Target { runs: false, dir: CoverDir::Unset, ..running.clone() };
        let builds = Builds::default();
        let snapshot = |image| Goal::Snapshot { image, builds: &builds };
        let (every_way, alone) = (snapshot(Some("busybox")), snapshot(None));
        let files = Goal::Files { maybe_none: false, beside: false, names_alone: false };
        for (target, goal, ways) in [
            (&running, every_way, "sidecar exec-sh-dd ephemeral"),
            (&running, alone, "sidecar"),
            (&running, files, "exec-sh-tar exec-tar"),
            (&over, every_way, "sidecar"),
            (&over, alone, "sidecar"),
        ] {
            let names: Vec<_> = plan(target, &goal).iter().map(|way| way.name).collect();
            assert_eq!(names.join(" "), ways, "{goal:?}");
        }
    }
}
