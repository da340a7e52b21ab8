use clap::Parser;
use podcov_cluster::{Container, CoverVolume, Sidecar};
use podcov_reach::CoverageFiles;

use super::*;

fn args(line: &str) -> Args {
    Args::parse_from(["podcov-collect", "--dry-run"].into_iter().chain(line.split_whitespace()))
}

fn target(dir: CoverDir) -> Target {
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
        volume: CoverVolume::EmptyDir,
        shares_process_ids: false,
        hostname: None,
        uid_inside: "u".into(),
        sidecar: None,
        runs: true,
        agent: None,
        history: Default::default(),
    }
}

fn with_folder() -> Target {
    target(CoverDir::Path("/cov".into()))
}

fn serves(name: &'static str, prospect: Prospect) -> Option<Vec<ExaminedWay>> {
    Some(vec![ExaminedWay { name, result: Ok(prospect) }])
}

fn fails(fault: Fault) -> Option<Vec<ExaminedWay>> {
    Some(vec![ExaminedWay { name: "exec-sh-tar", result: Err(fault) }])
}

fn covered(mode: Mode) -> Prospect {
    let program = CoveredProgram {
        process: "process 1 (app)".into(),
        go: Some("go1.26.0".into()),
        module: Some("example.com/app".into()),
        mode: Some(mode),
    };
    Prospect { covered: vec![program], ..Prospect::default() }
}

fn there(meta: usize, counters: usize) -> Prospect {
    Prospect { files: Some(CoverageFiles { meta, counters, profiles: 0 }), ..Prospect::default() }
}

/// What is printed of a container, its losses, and why it is skipped.
fn judged(line: &str, target: &Target, examined: &Examined) -> (String, Vec<String>, Option<&'static str>) {
    let args = args(line);
    let Outcome { planned, losses, skipped } = judge(&args, target, false, examined);
    let memory = planned.memory.map(|one| format!("{}: {}", one.way, one.describe(&args.live_image)));
    let files = planned.files.map(|one| format!("{}: {}", one.way, one.describe()));
    let lines: Vec<String> = memory.into_iter().chain(files).collect();
    (lines.join(" | "), losses, skipped)
}

fn plain(text: &str) -> (String, Vec<String>, Option<&'static str>) {
    (text.to_owned(), Vec::new(), None)
}

#[test]
fn files_that_are_there_are_counted() {
    let found = |files| judged("", &with_folder(), &Examined { files, ..Examined::default() });
    assert_eq!(
        found(serves("exec-tar", there(1, 3))),
        plain("exec-tar: 1 meta-data file and 3 counter files in /cov")
    );
    let none = Fault::Final("/cov holds no coverage files".into());
    assert_eq!(found(fails(none)), (String::new(), vec!["/cov holds no coverage files".into()], None));
}

#[test]
fn memory_and_files_are_told_apart() {
    let found =
        |memory, files| judged("--live", &with_folder(), &Examined { memory, files, ..Examined::default() });
    let program = "exec-sh-dd: process 1 (app), -covermode=set, go1.26.0, example.com/app";
    assert_eq!(
        found(serves("exec-sh-dd", covered(Mode::Set)), serves("exec-sh-tar", there(0, 0))),
        plain(program)
    );
    assert_eq!(
        found(serves("exec-sh-dd", covered(Mode::Set)), serves("exec-sh-tar", there(2, 1))),
        plain(&format!("{program} | exec-sh-tar: 2 meta-data files and 1 counter file in /cov"))
    );
    let unseen = Prospect { is_unseen: true, ..Prospect::default() };
    assert_eq!(
        found(
            serves("ephemeral", unseen),
            fails(Fault::Absent("no ephemeral container is beside it".into()))
        ),
        plain(
            "ephemeral: an ephemeral container of busybox:stable would be added; its programs are not known before that"
        )
    );
    let without = target(CoverDir::Unset);
    let memory = serves("exec-sh-dd", Prospect::default());
    assert_eq!(
        judged("--live", &without, &Examined { memory, ..Examined::default() }),
        (String::new(), Vec::new(), Some(NOT_COVERED))
    );
    let memory = fails(Fault::Absent("the image has no shell".into()));
    assert_eq!(
        judged("--live", &without, &Examined { memory, ..Examined::default() }),
        (String::new(), vec!["the image has no shell".into()], None)
    );
    let missing =
        Prospect { missing: vec!["the memory of process 7 must not be read".into()], ..covered(Mode::Set) };
    let memory = serves("exec-sh-dd", missing);
    assert_eq!(
        judged("--live", &without, &Examined { memory, ..Examined::default() }),
        (program.to_owned(), vec!["the memory of process 7 must not be read".into()], None)
    );
}

#[test]
fn what_a_signal_would_reach() {
    let shell =
        |mode, folder| Prospect { folder: Some(folder), has_tar: Some(true), ..there(1, 0) }.with(mode);
    let found = |line, prospect| {
        let files = serves("exec-sh-tar", prospect);
        judged(line, &with_folder(), &Examined { files, ..Examined::default() })
    };
    let whole = |mode| shell(Some(mode), FolderState::HasMetaData);
    let text = "exec-sh-tar: SIGUSR1 would be sent to process 1 (app) first; 1 meta-data file and 0 counter files now in /cov";
    assert_eq!(found("--signal USR1", whole(Mode::Atomic)), plain(text));
    let (_, losses, _) = found("--signal USR1", whole(Mode::Set));
    assert_eq!(
        losses,
        ["its program is built with -covermode=set, and only -covermode=atomic can write while it runs"]
    );
    assert_eq!(found("--signal TERM", whole(Mode::Set)).1, Vec::<String>::new());
    for (mode, folder, loss) in [
        (Some(Mode::Atomic), FolderState::Missing, "there is no folder /cov"),
        (Some(Mode::Atomic), FolderState::ReadOnly, "its user may not write to /cov"),
        (
            None,
            FolderState::HasMetaData,
            "no process of it would get the signal: none is a Go program that is built with -cover",
        ),
    ] {
        assert_eq!(found("--signal USR1", shell(mode, folder)).1, [loss]);
    }
    let agent = Prospect { agent: Some("0.1.0".into()), ..Prospect::default() };
    assert_eq!(
        found("--stop", agent),
        plain("exec-sh-tar: podcov-agent would stop the program first; what is then in /cov")
    );
    // One event is one loss.
    let absent = || fails(Fault::Absent("the image has no shell".into()));
    let examined = Examined { files: absent(), copying: absent(), ..Examined::default() };
    assert_eq!(judged("--signal USR1", &with_folder(), &examined).1, ["the image has no shell"]);
}

#[test]
fn what_a_sidecar_has_of_a_container_that_has_ended() {
    let over = |dir| Target {
        runs: false,
        sidecar: Some(Sidecar { container: "podcov".into(), port: 1 }),
        ..target(dir)
    };
    let found = |dir, prospect| {
        let memory = serves("sidecar", prospect);
        judged("", &over(dir), &Examined { memory, ..Examined::default() })
    };
    assert_eq!(found(CoverDir::Unset, Prospect::default()).2, Some(NOT_READ));
    let (_, losses, skipped) = found(CoverDir::Path("/cov".into()), Prospect::default());
    assert_eq!((losses, skipped), (vec![format!("it is not running; {NOT_READ}")], None));
    assert_eq!(found(CoverDir::Unset, covered(Mode::Set)).1, Vec::<String>::new());
}

trait With {
    fn with(self, mode: Option<Mode>) -> Self;
}

impl With for Prospect {
    fn with(self, mode: Option<Mode>) -> Self {
        Self { covered: mode.map(|mode| covered(mode).covered).unwrap_or_default(), ..self }
    }
}
