//! Which cluster: the kubeconfig files as kubectl finds and merges them. Only where nothing names a cluster, no
//! variable, no default file and no context, is it the one that this process runs in.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Kubeconfig, KubeconfigError};

use crate::Error;

/// What says which cluster is meant.
#[derive(Debug)]
pub(crate) enum Source {
    /// The service account of the pod that this process runs in.
    InCluster,
    /// A context of the kubeconfig.
    Context(Box<Context>),
}

/// A context with its cluster and user.
pub(crate) struct Context {
    pub(crate) name: String,
    /// The files, for messages.
    pub(crate) files: String,
    pub(crate) namespace: Option<String>,
    pub(crate) cluster: Cluster,
    pub(crate) user: AuthInfo,
}

// The user's credentials are printed nowhere.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("name", &self.name)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Finds the cluster that is meant. `context` is the name that the user gave, `variable` the value of `KUBECONFIG`,
/// `home` the user's home folder.
///
/// # Errors
/// [`Error::Config`] with the file and the cause, [`Error::NoContext`].
pub(crate) fn find(
    context: Option<String>,
    variable: Option<&OsStr>,
    home: Option<&Path>,
) -> Result<Source, Error> {
    let variable = variable.filter(|value| !value.is_empty());
    let files: Vec<PathBuf> = match (variable, home) {
        (Some(list), _) => std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect(),
        (None, Some(home)) => vec![home.join(".kube").join("config")],
        (None, None) => Vec::new(),
    };
    let mut merged = Kubeconfig::default();
    let (mut read, mut missing) = (Vec::new(), Vec::new());
    for file in files {
        // As kubectl does it: of several files, those that do not exist are skipped.
        match read_file(&file)? {
            Some(next) => {
                merged = merged.merge(next).map_err(|e| config_error(&file, &e.to_string()))?;
                read.push(file.display().to_string());
            }
            None => missing.push(file.display().to_string()),
        }
    }
    if read.is_empty() {
        return match (variable, &context) {
            (None, None) => Ok(Source::InCluster),
            (None, Some(context)) => Err(Error::Config(format!(
                "there is none that could have context {context:?}: KUBECONFIG is not set, and {} does not exist",
                missing.first().map_or("~/.kube/config", String::as_str)
            ))),
            (Some(_), _) if missing.is_empty() => Err(Error::Config("KUBECONFIG names no file".to_owned())),
            (Some(_), _) => {
                Err(Error::Config(format!("KUBECONFIG names what does not exist: {}", missing.join(", "))))
            }
        };
    }
    select(merged, context, read.join(", ")).map(|context| Source::Context(Box::new(context)))
}

/// Reads one file; `None` when it does not exist.
fn read_file(file: &Path) -> Result<Option<Kubeconfig>, Error> {
    let mut config = match Kubeconfig::read_from(file) {
        Ok(config) => config,
        Err(KubeconfigError::ReadConfig(e, _))
            if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(KubeconfigError::ReadConfig(e, _)) => return Err(config_error(file, &e.to_string())),
        // The parser's own message quotes the file, secrets and all.
        Err(KubeconfigError::Parse(e)) => {
            let place = e.location().map(|at| format!(", line {} column {}", at.line(), at.column()));
            let place = place.unwrap_or_default();
            return Err(config_error(file, &format!("it is not YAML, or not a kubeconfig{place}")));
        }
        Err(e) => return Err(config_error(file, &e.to_string())),
    };
    // An empty name is none: it must not hide that of a later file.
    config.current_context = config.current_context.filter(|name| !name.is_empty());
    // kubectl compares neither between files.
    config.kind = None;
    config.api_version = None;
    Ok(Some(config))
}

fn select(config: Kubeconfig, context: Option<String>, files: String) -> Result<Context, Error> {
    let known: Vec<_> = config.contexts.iter().map(|context| context.name.clone()).collect();
    let Some(name) = context.or(config.current_context) else {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Error::Config(format!("{files}: it has no current-context (contexts: {known})")));
    };
    let Some(context) = config.contexts.into_iter().find(|one| one.name == name) else {
        return Err(Error::NoContext { requested: name, known: known.join(", ") });
    };
    let context = context.context.unwrap_or_default();
    let cluster = config.clusters.into_iter().find(|one| one.name == context.cluster);
    let Some(cluster) = cluster.and_then(|one| one.cluster) else {
        let why =
            format!("{files}: context {name:?} names the cluster {:?}, which is not there", context.cluster);
        return Err(Error::Config(why));
    };
    // kubectl connects without credentials where the user is not there.
    let user = config.auth_infos.into_iter().find(|one| Some(&one.name) == context.user.as_ref());
    let user = user.and_then(|one| one.auth_info).unwrap_or_default();
    let namespace = context.namespace.filter(|namespace| !namespace.is_empty());
    Ok(Context { name, files, namespace, cluster, user })
}

fn config_error(file: &Path, why: &str) -> Error {
    Error::Config(format!("{}: {why}", file.display()))
}

/// The value of `KUBECONFIG`.
pub(crate) fn variable() -> Option<OsString> {
    std::env::var_os("KUBECONFIG")
}

#[cfg(test)]
mod tests {
    use super::*;
    use podcov_exit::Exit;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
        path
    }

    fn config(name: &str, current: &str) -> String {
        format!(
            "{{current-context: \"{current}\", contexts: [{{name: {name}, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{server: \"https://{name}\", certificate-authority: ca.crt}}}}], \
             users: [{{name: u, user: {{token: {name}}}}}]}}"
        )
    }

    fn list(paths: &[PathBuf]) -> OsString {
        std::env::join_paths(paths).unwrap()
    }

    fn context(source: Source) -> Context {
        match source {
            Source::Context(context) => *context,
            Source::InCluster => panic!("a kubeconfig was expected"),
        }
    }

    #[test]
    fn in_cluster_only_where_nothing_names_a_cluster() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(find(None, None, None), Ok(Source::InCluster)));
        assert!(matches!(find(None, None, Some(home.path())), Ok(Source::InCluster)));
        assert!(matches!(find(None, Some(OsStr::new("")), Some(home.path())), Ok(Source::InCluster)));

        let absent = home.path().join("absent");
        let broken = write(home.path(), "broken", "contexts: [\nusers: {token: hunter2");
        let folder = home.path().join("folder");
        fs_err::create_dir(&folder).unwrap();
        let empty = write(home.path(), "empty", "");
        for (context, variable, words) in [
            (Some("prod"), None, "context \"prod\""),
            (None, Some(absent.as_os_str()), "absent"),
            (None, Some(OsStr::new(":")), "KUBECONFIG names no file"),
            (None, Some(broken.as_os_str()), "broken"),
            (None, Some(folder.as_os_str()), "folder"),
            (None, Some(empty.as_os_str()), "empty"),
        ] {
            let error = find(context.map(str::to_owned), variable, Some(home.path())).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert_eq!(error.exit(), Exit::Usage, "{error}");
        }

        write(home.path(), ".kube/config", "{contexts: 7}");
        let error = find(None, None, Some(home.path())).unwrap_err();
        assert!(error.to_string().contains(".kube/config"), "{error}");
    }

    #[test]
    fn files_are_merged_as_kubectl_does() {
        let home = tempfile::tempdir().unwrap();
        let first = write(home.path(), "first/config", &config("a", ""));
        let second = write(home.path(), "second/config", &config("b", "b"));
        let absent = home.path().join("absent");

        // The first file's entries win, its relative paths are relative to it, and an empty current-context is none.
        let both = list(&[absent.clone(), PathBuf::new(), first.clone(), second.clone()]);
        let found = context(find(None, Some(&both), None).unwrap());
        assert_eq!(found.name, "b");
        assert_eq!(found.cluster.server.unwrap(), "https://a");
        let authority = home.path().join("first/ca.crt");
        assert_eq!(found.cluster.certificate_authority.unwrap(), authority.display().to_string());
        let found = context(find(Some("a".to_owned()), Some(&both), None).unwrap());
        assert_eq!(found.name, "a");

        let error = find(Some("c".to_owned()), Some(&both), None).unwrap_err();
        assert_eq!(error.to_string(), "context \"c\" is not in the kubeconfig (it has: a, b)");
        let error = find(None, Some(first.as_os_str()), None).unwrap_err();
        assert!(error.to_string().contains("no current-context (contexts: a)"), "{error}");
    }

    #[test]
    fn a_users_secrets_are_not_in_debug_output() {
        let home = tempfile::tempdir().unwrap();
        let file = write(home.path(), "config", &config("hunter2", "hunter2"));
        let found = context(find(None, Some(file.as_os_str()), None).unwrap());
        assert_eq!(format!("{found:?}").matches("hunter2").count(), 1, "the context's name alone");
    }
}
