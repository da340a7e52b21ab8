//! One program by several names.

use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;

/// What the program prints under a name.
fn run(path: &Path, args: &[&str]) -> Output {
    Command::new(path).args(args).output().expect("cargo has built it")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn a_command_and_a_link_are_the_program_of_that_name() {
    let podcov = Path::new(env!("CARGO_BIN_EXE_podcov"));
    let version = env!("CARGO_PKG_VERSION");
    let dir = tempfile::tempdir().unwrap();
    let link = |name: &str| {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(podcov, &link).unwrap();
        link
    };
    for command in ["run", "test", "signal", "collect", "report", "doctor", "init", "inject"] {
        let program = format!("podcov-{command}");
        let expected = format!("{program} {version}\n");
        assert_eq!(text(&run(podcov, &[command, "--version"])), expected);
        assert_eq!(text(&run(&link(&program), &["--version"])), expected);
    }
    let plugin = link("kubectl-podcov");
    assert_eq!(text(&run(&plugin, &["collect", "--version"])), format!("podcov-collect {version}\n"));
    assert_eq!(text(&run(podcov, &["--version"])), format!("podcov {version}\n"));
    // A command's own arguments reach it, and its exit code comes back.
    let wrong = run(podcov, &["report", "gate", "--fail-under", "101"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("must be from 0 to 100"), "{wrong:?}");
    assert_eq!(run(podcov, &["nonsense"]).status.code(), Some(2));
}

/// The guard of a command is the same program, under whatever name that was started.
#[test]
fn tests_run_under_each_name() {
    let podcov = Path::new(env!("CARGO_BIN_EXE_podcov"));
    let tested = run(podcov, &["test", "--", "sh", "-c", "exit 3"]);
    assert_eq!(tested.status.code(), Some(3), "{tested:?}");
}

#[test]
fn bash_completes_commands_and_flags() {
    let podcov = Path::new(env!("CARGO_BIN_EXE_podcov"));
    let script = text(&run(podcov, &["completions", "bash"]))
        + r#"complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _podcov podcov "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[@]}"; }
complete_words podcov coll
complete_words podcov collect --liv
complete_words podcov report gate --fail-under-p
"#;
    let completed = text(&Command::new("bash").args(["-c", &script]).output().unwrap());
    assert_eq!(completed, "collect\n--live --live-image\n--fail-under-package\n");
}

#[test]
fn each_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("man");
    let folder = folder.to_str().unwrap();
    text(&run(Path::new(env!("CARGO_BIN_EXE_podcov")), &["man", folder]));
    let page = |name: &str| fs::read_to_string(format!("{folder}/{name}.1")).unwrap();
    assert!(page("podcov-collect").contains("\\-\\-live\\-image"));
    assert!(page("podcov-report-gate").contains("\\-\\-fail\\-under"));
    assert!(page("podcov").contains("podcov\\-run(1)"));
}
