use podcov_cluster::{AgentPort, Container};
use podcov_control::Signal;
use podcov_reach::CoveredProgram;

use super::*;
use crate::check::Level;

fn target(dir: CoverDir, volume: CoverVolume, agent: Option<AgentPort>) -> Target {
    Target {
        container: Container {
            namespace: "shop".into(),
            pod: "web-1".into(),
            uid: "u".into(),
            container: "app".into(),
            image: "i".into(),
            image_id: "i".into(),
            restarts: 0,
        },
        dir,
        volume,
        shares_process_ids: false,
        uid_inside: String::new(),
        hostname: None,
        sidecar: None,
        runs: true,
        agent,
        history: Default::default(),
    }
}

fn judged(
    method: &Method,
    containers: Vec<(CoverDir, CoverVolume, ExaminedWay)>,
) -> Vec<(Level, &'static str)> {
    let examined = containers
        .into_iter()
        .map(|(dir, volume, way)| Examined { target: target(dir, volume, None), ways: vec![way] });
    let examined: Vec<_> = examined.collect();
    let looking =
        Looking { method, image: "busybox", may_add: false, timeout: Duration::from_secs(1), parallel: 1 };
    let (checks, needed) = judge(looking, &examined, &Rights::default());
    assert!(needed.is_empty());
    for check in &checks {
        assert!(check.level != Level::Error || check.fix.is_some(), "{check:?}");
    }
    checks.into_iter().map(|check| (check.level, check.name)).collect()
}

fn way(name: &'static str, prospect: Prospect) -> ExaminedWay {
    ExaminedWay { name, result: Ok(prospect) }
}

fn covered(mode: Mode) -> Prospect {
    let program =
        CoveredProgram { process: "process 1 (app)".into(), mode: Some(mode), ..Default::default() };
    Prospect { covered: vec![program], ..Prospect::default() }
}

fn other(is_go: Option<bool>) -> Prospect {
    Prospect { others: vec![OtherProcess { process: "process 1 (x)".into(), is_go }], ..Prospect::default() }
}

fn plain(way: ExaminedWay) -> (CoverDir, CoverVolume, ExaminedWay) {
    (CoverDir::Unset, CoverVolume::Unknown, way)
}

#[test]
fn what_has_no_coverage_is_an_error_only_if_nothing_has() {
    let live = |prospects: Vec<Prospect>| {
        judged(&Method::Live, prospects.into_iter().map(|one| plain(way("exec-sh-dd", one))).collect())
    };
    assert_eq!(live(vec![covered(Mode::Set)]), [(Level::Ok, "covered")]);
    assert_eq!(live(vec![other(Some(true))]), [(Level::Error, "covered")]);
    assert_eq!(live(vec![other(Some(false))]), [(Level::Error, "covered")]);
    assert_eq!(
        live(vec![covered(Mode::Set), other(Some(true)), other(Some(false))]),
        [(Level::Ok, "covered"), (Level::Warning, "covered"), (Level::Ok, "covered")]
    );
    let unseen = Prospect { is_unseen: true, ..Prospect::default() };
    assert_eq!(
        live(vec![unseen, other(Some(true))]),
        [(Level::Unknown, "covered"), (Level::Warning, "covered")]
    );
}

#[test]
fn what_a_signal_needs() {
    let path = CoverDir::Path("/cov".into());
    let shell = |mode, folder, has_tar| {
        way("exec-sh-tar", Prospect { folder: Some(folder), has_tar: Some(has_tar), ..covered(mode) })
    };
    let on = |signal: &str, volume, way| {
        let method = Method::Signal(signal.parse().unwrap());
        let found = judged(&method, vec![(path.clone(), volume, way)]);
        found.into_iter().filter(|(level, _)| *level != Level::Ok).collect::<Vec<_>>()
    };
    let whole = || shell(Mode::Atomic, FolderState::HasMetaData, true);
    assert_eq!(on("USR1", CoverVolume::EmptyDir, whole()), []);
    assert_eq!(on("USR1", CoverVolume::None, whole()), [(Level::Warning, "volume")]);
    assert_eq!(on("TERM", CoverVolume::None, whole()), [(Level::Error, "volume")]);
    let set = || shell(Mode::Set, FolderState::HasMetaData, true);
    assert_eq!(on("USR1", CoverVolume::EmptyDir, set()), [(Level::Error, "mode")]);
    assert_eq!(on("TERM", CoverVolume::EmptyDir, set()), []);
    for (folder, has_tar) in [
        (FolderState::HasMetaData, false),
        (FolderState::WithoutMetaData, true),
        (FolderState::ReadOnly, true),
        (FolderState::Missing, true),
    ] {
        let found = on("USR1", CoverVolume::EmptyDir, shell(Mode::Atomic, folder, has_tar));
        assert_eq!(found, [(Level::Error, "coverdir")], "{folder:?}");
    }
    let absent =
        ExaminedWay { name: "exec-sh-tar", result: Err(Fault::Absent("the image has no shell".into())) };
    assert_eq!(on("USR1", CoverVolume::EmptyDir, absent), [(Level::Error, "reachable")]);
}

#[test]
fn a_container_without_gocoverdir_is_skipped_unless_it_has_coverage() {
    let method = Method::Signal(Signal::FLUSH);
    let shell = way(
        "exec-sh-tar",
        Prospect { folder: Some(FolderState::HasMetaData), has_tar: Some(true), ..covered(Mode::Atomic) },
    );
    let with = || (CoverDir::Path("/cov".into()), CoverVolume::EmptyDir, shell.clone());
    let names = |containers| {
        let found = judged(&method, containers);
        found.into_iter().filter(|(level, _)| *level != Level::Ok).collect::<Vec<_>>()
    };
    assert_eq!(names(vec![with(), plain(way("exec-sh-dd", other(Some(false))))]), []);
    assert_eq!(
        names(vec![with(), plain(way("exec-sh-dd", covered(Mode::Atomic)))]),
        [(Level::Error, "coverdir")]
    );
    assert_eq!(names(vec![plain(way("exec-sh-dd", covered(Mode::Atomic)))]), [(Level::Error, "coverdir")]);
}

#[test]
fn an_agent_of_another_version_is_named() {
    let agent = |version: &str| way("agent", Prospect { agent: Some(version.into()), ..Prospect::default() });
    let judge = |version| judged(&Method::Stop, vec![(CoverDir::Env, CoverVolume::Unknown, agent(version))]);
    assert_eq!(judge(env!("CARGO_PKG_VERSION")), [(Level::Ok, "covered")]);
    // Beside it, what the hooks skip.
    let beside = |prospect| {
        let own = (CoverDir::Env, CoverVolume::Unknown, agent(env!("CARGO_PKG_VERSION")));
        judged(&Method::Stop, vec![own, plain(way("exec-sh-dd", prospect))])[1..].to_vec()
    };
    assert_eq!(beside(other(Some(false))), [(Level::Ok, "covered")]);
    assert_eq!(beside(covered(Mode::Set)), [(Level::Ok, "covered"), (Level::Error, "coverdir")]);
    assert_eq!(judge("0.0.0"), [(Level::Warning, "agent-version"), (Level::Ok, "covered")]);
}
