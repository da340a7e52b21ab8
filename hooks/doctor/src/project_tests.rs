use super::*;
use crate::check::Level;

fn project(yaml: &str, profile: Option<&str>) -> Result<Project, String> {
    Project::parse(yaml, profile, FILE.into())
}

fn with_hooks(hooks: &str) -> Project {
    let yaml = format!(
        "deploy: {{kubectl: {{}}}}\nprofiles:\n- name: coverage\n  deploy: {{kubectl: {{hooks: {hooks}}}}}\n"
    );
    project(&yaml, None).unwrap()
}

/// The checks that are not ok, by name, with what was found.
fn found(hooks: &str) -> Vec<(Level, &'static str, String)> {
    let checks = with_hooks(hooks).checks().into_iter();
    checks.filter(|one| one.level != Level::Ok).map(|one| (one.level, one.name, one.message)).collect()
}

fn hook(command: &str) -> String {
    format!("{{host: {{command: [{}]}}}}", command.split(' ').collect::<Vec<_>>().join(", "))
}

fn after(commands: &[&str]) -> String {
    let hooks: Vec<String> = commands.iter().map(|command| hook(command)).collect();
    format!("{{after: [{}]}}", hooks.join(", "))
}

#[test]
fn hooks_at_their_places() {
    let test = "podcov-test --defer-failure svc/web '80' -- 'true'";
    for good in [
        &["podcov run svc/web '80' -- 'true'"][..],
        &[test, "podcov-collect --live"],
        &[test, "bin/podcov-signal", "podcov-collect", "podcov-report html"],
        &[test, "podcov-collect --from gs://b/f"],
    ] {
        assert_eq!(found(&after(good)), [], "{good:?}");
    }
    for (wrong, level, message) in [
        (
            &["podcov-collect --live", test][..],
            Level::Error,
            "it tests after deploy.kubectl.hooks.after[0] has collected",
        ),
        (
            &[test, "podcov-collect"],
            Level::Error,
            "it collects files, and no hook before it makes the programs write them",
        ),
        (
            &["podcov-test -- 'true'", "podcov-collect --live"],
            Level::Warning,
            "it does not run if the tests of deploy.kubectl.hooks.after[0] fail",
        ),
        (
            &["podcov run svc/web 80 -- x"],
            Level::Error,
            "podcov does not understand its arguments: 80 is no text, and Skaffold takes texts alone: quote it",
        ),
        (
            &["podcov-collect --lives"],
            Level::Error,
            "podcov-collect does not understand its arguments: unexpected argument '--lives' found",
        ),
    ] {
        let found = found(&after(wrong));
        assert_eq!(found, [(level, "hook", message.to_owned())], "{wrong:?}");
    }
    let early = format!("{{before: [{}]}}", hook("podcov run svc/web '80' -- 'true'"));
    assert_eq!(
        found(&early)[0].2,
        "podcov runs before the deployment, so it meets the pods of an earlier run"
    );
    assert_eq!(found("{}")[0].2, "no hook runs podcov");
}

#[test]
fn a_hook_of_another_system_is_skipped() {
    let project = with_hooks("{after: [{host: {os: [darwin], command: [podcov-collect, --live]}}]}");
    let of = |system| {
        let check = project.hooks[0].judge_os(Check::new(Group::Skaffold, "os", "x"), system);
        check.map(|check| check.message)
    };
    assert_eq!(of("macos"), None);
    assert_eq!(of("linux").unwrap(), "Skaffold skips it on this system: its os is darwin");
}

#[test]
fn what_hooks_ask_for() {
    let needs = |hooks: &[&str]| {
        let mut needs = Needs::default();
        with_hooks(&after(hooks)).add_to(&mut needs, false, false);
        let routes = needs
            .routes
            .iter()
            .map(|one| format!("{:?}/{} {}", one.target.namespace, one.target.name, one.port.remote));
        (needs.method.clone(), routes.collect::<Vec<_>>().join(" "))
    };
    let usr1 = Method::Signal(Signal::FLUSH);
    for (hooks, method, routes) in [
        (&["podcov run svc/web '80' -- 'true'"][..], Method::Live, "None/web 80"),
        (&["podcov run --signal USR1 -n shop svc/web '80' -- 'true'"], usr1.clone(), "Some(\"shop\")/web 80"),
        (&["podcov-signal", "podcov-collect"], usr1, ""),
        (&["podcov-collect --stop"], Method::Stop, ""),
        (&["podcov-collect --live"], Method::Live, ""),
        (&["podcov-collect --from file:///x"], Method::Stored("file:///x".parse().unwrap()), ""),
    ] {
        assert_eq!(needs(hooks), (method, routes.to_owned()), "{hooks:?}");
    }
}

#[test]
fn what_hooks_select() {
    let selected = |hooks: &[&str]| {
        let mut needs = Needs::default();
        with_hooks(&after(hooks)).add_to(&mut needs, false, false);
        needs.selection
    };
    let worker = Selection { selector: Some("app=worker".into()), ..Selection::default() };
    assert_eq!(selected(&["podcov-collect --live -l app=worker"]), worker);
    assert_eq!(selected(&["podcov run -l app=worker -- x"]), worker);
    let different = ["podcov-collect --live -l app=worker", "podcov-collect --live -c app"];
    assert_eq!(selected(&different), Selection::default());
}

#[test]
fn the_profile_that_runs_podcov_is_found() {
    let two = "profiles:\n- name: a\n  deploy: {kubectl: {hooks: {after: [{host: {command: [podcov, run]}}]}}}\n\
               - name: b\n  deploy: {helm: {hooks: {after: [{host: {command: [podcov-collect]}}]}}}\n- name: c\n";
    let problems = project(two, None).unwrap().problems;
    assert_eq!(problems[0].0, "the hooks of several profiles run podcov: a, b");
    let b = project(two, Some("b")).unwrap();
    assert_eq!(b.hooks[0].place, "deploy.helm.hooks.after[0]");
    assert!(project(two, Some("c")).unwrap().hooks.is_empty());
    assert_eq!(project(two, Some("d")).unwrap_err(), "skaffold.yaml: it has no profile d; it has: a, b, c");
    // A profile's deployer replaces the one below it.
    let both = "deploy: {kubectl: {hooks: {after: [{host: {command: [podcov-signal]}}]}}}\n".to_owned() + two;
    let all = |profile| {
        project(&both, profile).unwrap().hooks.iter().map(|one| one.program.clone()).collect::<Vec<_>>()
    };
    assert_eq!(all(Some("a")), ["podcov"]);
    assert_eq!(all(Some("b")), ["podcov-collect", "podcov-signal"]);
}
