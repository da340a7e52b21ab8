//! action.yml: its steps run as GitHub's runner runs them, on a release in a folder.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use podcov_e2e::dist::Dist;
use podcov_e2e::top;
use serde_json::Value;

use crate::read;

/// As an input or a variable is named in an expression.
type Names = BTreeMap<String, String>;

const PROFILE: &str = "mode: set\nexample.com/p/p.go:1.1,2.2 3 1\nexample.com/p/p.go:3.1,4.2 1 0\n";

/// What the steps have done.
struct Job {
    /// The names of the steps that ran, each with its exit code.
    ran: Vec<(String, i32)>,
    /// The folder they ran in, which the test's release is in too.
    dist: Dist,
}

impl Job {
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dist.dir().join(name)).unwrap_or_default()
    }

    fn codes(&self) -> Vec<(&str, i32)> {
        self.ran.iter().map(|(name, code)| (name.as_str(), *code)).collect()
    }
}

fn action() -> Result<Value> {
    Ok(serde_saphyr::from_str(&read("action.yml")?)?)
}

/// The value of an operand: a string in quotes, a name, or that the job is not cancelled.
fn value(operand: &str, names: &Names) -> Result<String> {
    if let Some(text) = operand.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        return Ok(text.to_owned());
    }
    if operand == "!cancelled()" {
        return Ok("true".to_owned());
    }
    names.get(operand).cloned().with_context(|| format!("{operand} is not known"))
}

/// Whether a condition holds: comparisons, with `&&` between them.
fn holds(condition: &str, names: &Names) -> Result<bool> {
    let condition = condition.trim().trim_start_matches("${{").trim_end_matches("}}");
    for part in condition.split("&&").map(str::trim) {
        let is_true = if let Some((left, right)) = part.split_once(" == ") {
            value(left, names)? == value(right, names)?
        } else if let Some((left, right)) = part.split_once(" != ") {
            value(left, names)? != value(right, names)?
        } else {
            !value(part, names)?.is_empty()
        };
        if !is_true {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A text with its expressions filled in.
fn fill(text: &str, names: &Names) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (name, after) = after.split_once("}}").context("an expression has no end")?;
        filled += before;
        filled += &value(name.trim(), names)?;
        rest = after;
    }
    Ok(filled + rest)
}

/// Runs the action with these inputs. `gh` is the script that stands in for GitHub's program.
fn run(inputs: &[(&str, &str)], gh: &str) -> Result<Job> {
    let dist = Dist::released()?;
    let work = dist.dir().to_owned();
    fs::write(work.join("unit.out"), PROFILE)?;
    let path = dist.with_program("gh", gh)?;
    let mut names = Names::new();
    let action = action()?;
    for (name, input) in action["inputs"].as_object().context("inputs")? {
        let default = input["default"].as_str().unwrap_or_default();
        names.insert(format!("inputs.{name}"), default.replace("${{ github.token }}", "secret"));
    }
    names.insert("inputs.url".to_owned(), format!("file://{}", dist.folder().display()));
    for (name, given) in inputs {
        ensure!(
            names.insert(format!("inputs.{name}"), (*given).to_owned()).is_some(),
            "there is no input {name}"
        );
    }
    for (name, given) in [
        ("action_path", top().display().to_string()),
        ("action_repository", "example/podcov".to_owned()),
        ("repository", "example/shop".to_owned()),
        ("event.pull_request", "yes".to_owned()),
        ("event.pull_request.number", "7".to_owned()),
    ] {
        names.insert(format!("github.{name}"), given);
    }

    let (mut ran, mut failed) = (Vec::new(), false);
    for step in action["runs"]["steps"].as_array().context("steps")? {
        let name = step["name"].as_str().context("a name")?;
        let condition = step["if"].as_str().unwrap_or("");
        // Without a function of the job's state a step runs only where none has failed.
        if (failed && !condition.contains("!cancelled()"))
            || !(condition.is_empty() || holds(condition, &names)?)
        {
            continue;
        }
        let mut bash = Command::new("bash");
        ensure!(step["shell"] == "bash", "{name} is not for bash");
        bash.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().context("run")?]);
        for (variable, text) in step["env"].as_object().into_iter().flatten() {
            bash.env(variable, fill(text.as_str().context("a text")?, &names)?);
        }
        let added = fs::read_to_string(work.join("path.txt")).unwrap_or_default();
        bash.env("PATH", format!("{}:{path}", added.trim())).env("RUNNER_TEMP", &work).current_dir(&work);
        bash.env("GITHUB_SERVER_URL", "https://example.com").env_remove("SKAFFOLD_RUN_ID");
        for (variable, file) in
            [("PATH", "path.txt"), ("OUTPUT", "output.txt"), ("STEP_SUMMARY", "summary.md")]
        {
            bash.env(format!("GITHUB_{variable}"), work.join(file));
        }
        let output = bash.output()?;
        let code = output.status.code().context("a signal")?;
        if code != 0 && !failed {
            eprintln!("{name}: {output:?}");
        }
        failed |= code != 0;
        if let Some(id) = step["id"].as_str() {
            let outcome = if code == 0 { "success" } else { "failure" };
            names.insert(format!("steps.{id}.outcome"), outcome.to_owned());
        }
        ran.push((name.to_owned(), code));
    }
    Ok(Job { ran, dist })
}

#[test]
fn every_input_is_used_and_every_one_used_is_declared() -> Result<()> {
    let (text, action) = (read("action.yml")?, action()?);
    let declared: Vec<_> = action["inputs"].as_object().context("inputs")?.keys().collect();
    let mut used: Vec<_> = text
        .split("inputs.")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next())
        .collect();
    used.sort_unstable();
    used.dedup();
    let mut sorted = declared.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, used);
    Ok(())
}

#[test]
fn what_no_input_selects_does_not_run() -> Result<()> {
    let job = run(&[("data", "unit.out")], "#!/bin/sh\nexit 9\n")?;
    assert_eq!(job.codes(), [("Install podcov", 0), ("Summary", 0)]);
    assert_eq!(job.text("output.txt"), "coverage=75.0\n");
    assert!(job.text("summary.md").contains("75.0"), "{}", job.text("summary.md"));
    Ok(())
}

#[test]
fn the_rest_runs_after_failed_tests_and_the_gate_fails() -> Result<()> {
    let inputs = [
        ("data", "unit.out"),
        ("test", "-- sh -c\n'echo \"tested it\" >tested.txt; exit 3'"),
        ("report", "html -o 'a page.html'\nlcov -o lcov.info"),
        ("gate", "--fail-under 80"),
    ];
    let job = run(&inputs, "#!/bin/sh\nexit 9\n")?;
    assert_eq!(job.codes(), [("Install podcov", 0), ("Test", 3), ("Report", 0), ("Summary", 0), ("Gate", 1)]);
    assert_eq!(job.text("tested.txt"), "tested it\n");
    assert!(job.text("a page.html").contains("<html") && job.text("lcov.info").contains("SF:"));
    Ok(())
}

/// A stand-in that notes its arguments. It lists a comment of another program and, if there is one, podcov's.
fn gh(listed: &str) -> String {
    format!("#!/bin/sh\necho \"$GH_TOKEN $*\" >>gh.txt\ncase $* in *--paginate*) echo '{listed}' ;; esac\n")
}

#[test]
fn a_pull_request_has_one_comment() -> Result<()> {
    let inputs = [("data", "unit.out"), ("comment", "true"), ("summary", "false")];
    for (listed, expected) in [
        ("", "secret api --silent repos/example/shop/issues/7/comments --field body=@"),
        ("42", "secret api --silent --method PATCH repos/example/shop/issues/comments/42 --field body=@"),
    ] {
        let job = run(&inputs, &gh(listed))?;
        assert_eq!(job.codes(), [("Install podcov", 0), ("Comment", 0)]);
        let asked = job.text("gh.txt");
        let Some(last) = asked.lines().last() else { bail!("gh was not asked") };
        assert!(last.starts_with(expected), "{asked}");
        assert!(job.text("comment.md").starts_with("<!-- podcov -->\n"), "{}", job.text("comment.md"));
        assert!(job.text("comment.md").contains("75.0"), "{}", job.text("comment.md"));
    }
    Ok(())
}
