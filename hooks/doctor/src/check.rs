//! A check and its result, and all of them as text and as JSON.

use std::fmt::Display;
use std::io::{self, Write};

use podcov_cli::count;
use serde::Serialize;

/// The version of the JSON.
const VERSION: u32 = 1;

/// What a check is about, in the order in which checks are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    Cluster,
    Rights,
    Targets,
    Pods,
    Containers,
    Skaffold,
    Programs,
    Storage,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// The hooks have what they need.
    Ok,
    /// The check could not be made.
    Unknown,
    /// The hooks work, and something is not as it should be.
    Warning,
    /// A hook would fail, or its report lack something.
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A check and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) group: Group,
    /// What was checked, the same in all versions: `not-covered`.
    #[serde(rename = "check")]
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    /// The thing: `pod shop/cart-1 container app`.
    pub(crate) subject: String,
    /// What was found.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

impl Check {
    /// A check of a thing that is as it should be, unless more is said.
    pub(crate) fn new(group: Group, name: &'static str, subject: impl Display) -> Self {
        let subject = subject.to_string();
        Self { group, name, level: Level::Ok, subject, message: String::new(), fix: None }
    }

    pub(crate) fn ok(self, message: impl Display) -> Self {
        Self { message: message.to_string(), ..self }
    }

    pub(crate) fn unknown(self, message: impl Display, fix: impl Display) -> Self {
        self.found(Level::Unknown, message, fix)
    }

    pub(crate) fn warning(self, message: impl Display, fix: impl Display) -> Self {
        self.found(Level::Warning, message, fix)
    }

    pub(crate) fn error(self, message: impl Display, fix: impl Display) -> Self {
        self.found(Level::Error, message, fix)
    }

    /// With what to do about it, if there is something.
    pub(crate) fn found(self, level: Level, message: impl Display, fix: impl Display) -> Self {
        let fix = Some(fix.to_string()).filter(|fix| !fix.is_empty());
        Self { level, message: message.to_string(), fix, ..self }
    }
}

/// All checks.
#[derive(Debug, Default)]
pub(crate) struct Report {
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Json<'a> {
    version: u32,
    ok: usize,
    unknown: usize,
    warnings: usize,
    errors: usize,
    checks: &'a [Check],
}

impl Report {
    pub(crate) fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    pub(crate) fn extend(&mut self, checks: impl IntoIterator<Item = Check>) {
        self.checks.extend(checks);
    }

    /// How many checks have this result.
    pub(crate) fn count(&self, level: Level) -> usize {
        self.checks.iter().filter(|check| check.level == level).count()
    }

    /// Puts the checks of a group together; within it they stay as they were made.
    pub(crate) fn sort(&mut self) {
        self.checks.sort_by_key(|check| check.group);
    }

    /// Writes the checks, one line each, with what to do about it on the next line. The same of several pods or containers is
    /// written once.
    pub(crate) fn write(&self, out: &mut dyn Write, all: bool) -> io::Result<()> {
        let shown = self.checks.iter().filter(|check| all || check.level != Level::Ok);
        let mut written: Vec<&Check> = Vec::new();
        let is_same = |a: &Check, b: &Check| {
            let are_alike = matches!(a.group, Group::Pods | Group::Containers);
            are_alike && (a.name, a.level, &a.message) == (b.name, b.level, &b.message) && a.group == b.group
        };
        for check in shown {
            if written.iter().any(|other| is_same(other, check)) {
                continue;
            }
            written.push(check);
            let Check { level, subject, message, fix, .. } = check;
            let same = self.checks.iter().filter(|other| is_same(other, check));
            let more = same.count().saturating_sub(1);
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            writeln!(out, "{:<8} {subject}{more}: {message}", level.word())?;
            for line in fix.iter().flat_map(|fix| fix.lines()) {
                writeln!(out, "         {line}")?;
            }
        }
        let mut counts = Vec::new();
        for (level, thing) in [(Level::Error, "error"), (Level::Warning, "warning")] {
            counts.extend(
                Some(self.count(level)).filter(|number| *number > 0).map(|number| count(number, thing)),
            );
        }
        let unknown = self.count(Level::Unknown);
        counts.extend((unknown > 0).then(|| format!("{} not made", count(unknown, "check"))));
        counts.push(format!("{} ok", count(self.count(Level::Ok), "check")));
        writeln!(out, "{}", counts.join(", "))
    }

    pub(crate) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let json = Json {
            version: VERSION,
            ok: self.count(Level::Ok),
            unknown: self.count(Level::Unknown),
            warnings: self.count(Level::Warning),
            errors: self.count(Level::Error),
            checks: &self.checks,
        };
        writeln!(out, "{}", serde_json::to_string_pretty(&json)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(checks: Vec<Check>, all: bool) -> String {
        let mut report = Report { checks };
        report.sort();
        let mut out = Vec::new();
        report.write(&mut out, all).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_needs_attention_comes_with_what_to_do() {
        let check = |group, subject: &str| Check::new(group, "a", subject);
        let checks = vec![
            check(Group::Pods, "pod x").error("it does not start", "kubectl describe pod x"),
            check(Group::Pods, "pod y").error("it does not start", "kubectl describe pod y"),
            check(Group::Cluster, "context c").ok("it answers"),
            check(Group::Storage, "file:///x").unknown("not known", ""),
        ];
        assert_eq!(
            text(checks.clone(), false),
            "error    pod x (and 1 more): it does not start\n         kubectl describe pod x\n\
             unknown  file:///x: not known\n\
             2 errors, 1 check not made, 1 check ok\n"
        );
        assert!(text(checks.clone(), true).starts_with("ok       context c: it answers\nerror"));
        assert_eq!(text(vec![checks[2].clone()], false), "1 check ok\n");
    }

    #[test]
    fn the_json_has_every_check() {
        let checks = vec![
            Check::new(Group::Cluster, "context", "context c").ok("it answers"),
            Check::new(Group::Pods, "pod-runs", "pod x").warning("it is starting", "wait"),
        ];
        let mut out = Vec::new();
        Report { checks }.write_json(&mut out).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let expected = serde_json::json!({
            "version": 1, "ok": 1, "unknown": 0, "warnings": 1, "errors": 0,
            "checks": [
                {"group": "cluster", "check": "context", "level": "ok", "subject": "context c", "message": "it answers"},
                {"group": "pods", "check": "pod-runs", "level": "warning", "subject": "pod x", "message": "it is starting",
                 "fix": "wait"},
            ]
        });
        assert_eq!(json, expected);
    }
}
