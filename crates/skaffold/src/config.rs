//! Reads `skaffold.yaml` and applies a profile.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;

use crate::schema;

/// What `skaffold run` would execute, with every path made absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory that paths in the file are relative to. Skaffold takes the one it is started in; here it
    /// is the file's own, as though Skaffold had been started there.
    pub work_dir: PathBuf,
    /// What to build.
    pub artifacts: Vec<Artifact>,
    /// The directories that kustomize renders.
    pub kustomize: Vec<PathBuf>,
    /// Host hooks that run before the manifests are applied, in order; each is a program and its arguments.
    pub before: Vec<Vec<String>>,
    /// Those that run once what was applied is ready.
    pub after: Vec<Vec<String>>,
}

/// An image to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The image's name in the manifests.
    pub image: String,
    /// What builds it.
    pub builder: Builder,
}

/// What builds an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Builder {
    /// ko, of a Go program.
    Ko(Ko),
    /// A shell's command line, which pushes what it is told to by its environment.
    Custom {
        /// The command line.
        command: String,
        /// Where it runs.
        dir: PathBuf,
    },
}

impl std::fmt::Display for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ko(ko) => f.write_str(&ko.flags.join(" ")),
            Self::Custom { command, .. } => f.write_str(command),
        }
    }
}

/// A program that ko builds into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ko {
    /// Where the go tool runs: the artifact's `context`.
    pub dir: PathBuf,
    /// The image it is put on; ko's own, which holds no program at all, where none is named.
    pub base: Option<String>,
    /// The package to build, relative to `dir`.
    pub main: String,
    /// Flags for `go build`.
    pub flags: Vec<String>,
}

impl Config {
    /// Reads a `skaffold.yaml` and applies the named profile.
    ///
    /// # Errors
    /// When the file cannot be read, has no such profile, or holds anything that this crate does not execute.
    pub fn read(path: &Path, profile: Option<&str>) -> Result<Self> {
        let path = fs::canonicalize(path)?;
        let text = fs::read_to_string(&path)?;
        let work_dir = path.parent().unwrap_or(Path::new("/"));
        Self::parse(&text, work_dir, profile).with_context(|| path.display().to_string())
    }

    fn parse(text: &str, work_dir: &Path, profile: Option<&str>) -> Result<Self> {
        let mut file: schema::File = serde_saphyr::from_str(text)?;
        ensure!(
            file.kind == "Config" && file.api_version.starts_with("skaffold/v4beta"),
            "{} {} is not a configuration that is understood here (skaffold/v4beta…, kind Config)",
            file.api_version,
            file.kind,
        );
        if let Some(name) = profile {
            let Some(found) = file.profiles.iter().position(|profile| profile.name == name) else {
                bail!("there is no profile {name:?}");
            };
            let profile = file.profiles.swap_remove(found);
            file.apply(profile);
        }

        let artifacts = file.build.artifacts.into_iter().map(|artifact| artifact_of(artifact, work_dir));
        let Some(kustomize) = file.manifests.kustomize else {
            bail!("manifests.kustomize is missing, and other manifests are not rendered here");
        };
        let kustomize = kustomize.paths.into_iter().map(|path| {
            no_template("manifests.kustomize.paths", [&path])?;
            Ok(work_dir.join(path))
        });
        let hooks = file.deploy.kubectl.unwrap_or_default().hooks;
        Ok(Self {
            work_dir: work_dir.to_owned(),
            artifacts: artifacts.collect::<Result<_>>()?,
            kustomize: kustomize.collect::<Result<_>>()?,
            before: hooks_of("before", hooks.before)?,
            after: hooks_of("after", hooks.after)?,
        })
    }
}

fn artifact_of(artifact: schema::Artifact, work_dir: &Path) -> Result<Artifact> {
    let schema::Artifact { image, context, ko, custom } = artifact;
    let dir = work_dir.join(context);
    let builder = match (ko, custom) {
        (Some(ko), None) => Builder::Ko(ko_of(ko, dir, &image)?),
        (None, Some(custom)) => {
            no_template(&image, [&custom.build_command])?;
            Builder::Custom { command: custom.build_command, dir }
        }
        _ => bail!(
            "artifact {image} has neither a ko nor a custom section, and other builders do not run here"
        ),
    };
    Ok(Artifact { image, builder })
}

fn ko_of(ko: schema::Ko, dir: PathBuf, image: &str) -> Result<Ko> {
    ensure!(!image.starts_with("ko://"), "artifact {image}: ko:// names are not resolved here");
    no_template(image, &ko.flags)?;
    ensure!(!ko.main.contains("..."), "artifact {image}: ko.main {:?} is a pattern, not a package", ko.main);
    Ok(Ko {
        dir,
        base: ko.from_image,
        main: if ko.main.is_empty() { ".".to_owned() } else { ko.main },
        flags: ko.flags,
    })
}

fn hooks_of(when: &str, hooks: Vec<schema::Hook>) -> Result<Vec<Vec<String>>> {
    let hooks = hooks.into_iter().enumerate().map(|(i, hook)| {
        let place = format!("deploy.kubectl.hooks.{when}[{i}]");
        match hook {
            schema::Hook::Container(_) => bail!(
                "{place} is a container hook; only host hooks run here \
                 (to signal programs in containers, use podcov-signal in a host hook)"
            ),
            schema::Hook::Host(hook) => {
                ensure!(!hook.command.is_empty(), "{place} has no command");
                Ok(hook.command)
            }
        }
    });
    hooks.collect()
}

/// Skaffold expands Go templates in these fields; taken literally they would build or render something else.
fn no_template<'a>(place: &str, values: impl IntoIterator<Item = &'a String>) -> Result<()> {
    for value in values {
        ensure!(!value.contains("{{"), "{place}: {value:?} is a template, which is not expanded here");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "
apiVersion: skaffold/v4beta13
kind: Config
build: {artifacts: [{image: a, context: src, ko: {flags: [-x]}}]}
manifests: {kustomize: {paths: [k8s]}}
deploy: {kubectl: {hooks: {before: [{host: {command: [base]}}]}}}
profiles:
  - name: other
  - name: cover
    build: {artifacts: [{image: a, ko: {main: ./a, flags: [-cover]}}]}
    deploy: {kubectl: {hooks: {after: [{host: {command: [x, y]}}]}}}
";

    fn parse(text: &str, profile: Option<&str>) -> Result<Config> {
        Config::parse(text, Path::new("/w"), profile)
    }

    #[track_caller]
    fn ko(config: &Config) -> &Ko {
        match &config.artifacts[..] {
            [Artifact { builder: Builder::Ko(ko), .. }] => ko,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn refuses(text: &str, expected: &str) {
        let error = format!("{:#}", parse(text, None).expect_err("it must be refused"));
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn without_a_profile() {
        let config = parse(SMALL, None).unwrap();
        assert_eq!(config.work_dir, Path::new("/w"));
        assert_eq!(config.kustomize, [Path::new("/w/k8s")]);
        assert_eq!(ko(&config).dir, Path::new("/w/src"));
        assert_eq!((ko(&config).main.as_str(), &ko(&config).flags[..]), (".", &["-x".to_owned()][..]));
        assert_eq!(config.before, [["base"]]);
        assert!(config.after.is_empty());
    }

    #[test]
    fn a_profile_replaces_lists_and_optional_sections_whole() {
        let config = parse(SMALL, Some("cover")).unwrap();
        let artifact = ko(&config);
        assert_eq!(artifact.dir, Path::new("/w/"), "the base's context is gone");
        assert_eq!((artifact.main.as_str(), &artifact.flags[..]), ("./a", &["-cover".to_owned()][..]));
        assert!(config.before.is_empty(), "the base's deploy.kubectl is gone");
        assert_eq!(config.after, [["x", "y"]]);
        assert_eq!(config.kustomize, [Path::new("/w/k8s")], "what the profile leaves out stays");
    }

    #[test]
    fn a_profile_that_is_not_there() {
        let error = parse(SMALL, Some("none")).unwrap_err();
        assert_eq!(error.to_string(), "there is no profile \"none\"");
    }

    #[test]
    fn what_would_not_be_executed_is_refused_by_name() {
        refuses(&SMALL.replace("name: other", "name: other\n    activation: []"), "activation");
        refuses(&SMALL.replace("flags: [-x]", "labels: {a: b}"), "labels");
        refuses(&SMALL.replace("paths: [k8s]", "paths: [k8s], buildArgs: [x]"), "buildArgs");
        refuses(&SMALL.replace("host: {command: [base]}", "host: {command: [base], os: [linux]}"), "os");
        refuses(&SMALL.replace("deploy: {kubectl", "deploy: {statusCheck: false, kubectl"), "statusCheck");
        refuses(&format!("{SMALL}\nverify: []"), "verify");
        refuses(&SMALL.replace("v4beta13", "v2beta29"), "skaffold/v2beta29");
        refuses(&SMALL.replace("ko: {flags: [-x]}", "docker: {}"), "docker");
        refuses(
            &SMALL.replace(", ko: {flags: [-x]}", ""),
            "artifact a has neither a ko nor a custom section",
        );
        refuses(&SMALL.replace("flags: [-x]", "flags: ['{{.X}}']"), "template");
        refuses(
            &SMALL.replace("manifests: {kustomize: {paths: [k8s]}}", ""),
            "manifests.kustomize is missing",
        );
        refuses(&SMALL.replace("[base]", "[]"), "deploy.kubectl.hooks.before[0] has no command");
    }

    #[test]
    fn container_hooks_are_refused() {
        let text = SMALL.replace("host: {command: [base]}", "container: {command: [kill], podName: a-*}");
        refuses(&text, "deploy.kubectl.hooks.before[0] is a container hook");
    }

    #[test]
    fn a_command_of_ones_own_builds_an_image() {
        let text =
            SMALL.replace("ko: {flags: [-x]}", "custom: {buildCommand: ./image, dependencies: {paths: [a]}}");
        let config = parse(&text, None).unwrap();
        let builder = Builder::Custom { command: "./image".to_owned(), dir: "/w/src".into() };
        assert_eq!(config.artifacts, [Artifact { image: "a".to_owned(), builder }]);
    }

    #[test]
    fn this_repository() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let config = Config::read(&repository.join("skaffold.yaml"), Some("coverage")).unwrap();

        let programs: Vec<_> = config.after.iter().map(|hook| hook[0].as_str()).collect();
        assert_eq!(
            programs,
            ["podcov-test", "podcov-signal", "podcov-collect"].map(|p| format!("./target/debug/{p}"))
        );
        assert_eq!(config.before[0][..2], ["cargo", "build"]);
        assert_eq!(config.artifacts[0].image, "hello");
        assert_eq!(ko(&config).flags, ["-cover", "-covermode=atomic"]);
        for dir in config.kustomize.iter().chain([&ko(&config).dir]) {
            assert!(dir.is_dir(), "{}", dir.display());
        }

        let base = Config::read(&repository.join("skaffold.yaml"), None).unwrap();
        assert!(ko(&base).flags.is_empty() && base.before.is_empty() && base.after.is_empty());
    }
}
