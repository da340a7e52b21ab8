//! Writes results to stdout, or to a file that gets its name when it is complete.
//!
//! An existing file is replaced only if it is a report of the same format: see [`Format::is_in`].

use std::collections::HashSet;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use covdata::FileName;
use fs_err as fs;
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_profile::NewFile;
use tempfile::NamedTempFile;

use crate::paths::is_same_file;

/// The format of a file that is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    Text,
    Html,
    Lcov,
    Cobertura,
    Json,
    Markdown,
    Badge,
}

impl Format {
    /// Whether a file that begins with these bytes may be replaced by one of this format: it is empty, or has the same
    /// format. If a format can name the program that wrote the file, it must name podcov-report.
    fn is_in(self, start: &[u8]) -> bool {
        let start = start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start);
        let begins = |with: &str| start.starts_with(with.as_bytes());
        let has = |mark: &str| start.windows(mark.len()).any(|window| window == mark.as_bytes());
        start.is_empty()
            || match self {
                Self::Text => begins("mode: "),
                Self::Html => has("<meta name=\"generator\" content=\"podcov-report\">"),
                Self::Lcov => begins("TN:"),
                Self::Cobertura => has(" version=\"podcov "),
                Self::Json => begins("{\"version\":") && has(",\"podcov\":\""),
                Self::Markdown => begins("### Go coverage: "),
                Self::Badge => has("<!-- podcov-report -->"),
            }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text profile",
            Self::Html => "HTML report of podcov-report",
            Self::Lcov => "LCOV tracefile",
            Self::Cobertura => "Cobertura report of podcov-report",
            Self::Json => "JSON report of podcov-report",
            Self::Markdown => "Markdown report of podcov-report",
            Self::Badge => "badge of podcov-report",
        }
    }
}

/// How many bytes of a file are read to determine its format.
const START: u64 = 4 << 10;

/// Prints text for a person to stdout.
pub(crate) fn print(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    podcov_cli::print_text(fill).or_exit(Exit::Usage, "cannot write to stdout")
}

/// Writes to a file, or to stdout if none is given. The file appears when it is complete. If writing fails, an existing file
/// stays as it is.
pub(crate) fn write(
    path: Option<&Path>,
    format: Format,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let Some(path) = path.filter(|path| !is_stdout(path)) else {
        return podcov_cli::print(fill).or_exit(Exit::Usage, "cannot write to stdout");
    };
    let cannot = || format!("cannot write {}", path.display());
    match destination(path, format)? {
        Destination::Stream(file) => {
            let mut out = BufWriter::with_capacity(BUFFER, file);
            fill(&mut out).and_then(|()| out.flush()).or_exit(Exit::Usage, cannot())
        }
        Destination::File { path, permissions } => {
            replace(&path, permissions, fill).or_exit(Exit::Usage, cannot())
        }
    }
}

/// Checks that a file can be written, or replaced if it is there.
pub(crate) fn check(path: &Path, format: Format) -> Result<()> {
    destination(path, format).map(drop)
}

/// Whether a path leads to stdout: `-`, `/dev/stdout` and the like.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-") || is_same_file(path, Path::new("/dev/fd/1"))
}

/// The target of a path.
enum Destination {
    /// A device, a pipe, or an open file descriptor. Output is appended to it; it is never replaced.
    Stream(fs::File),
    /// A file with links resolved, which need not exist, and the permissions of an existing one.
    File { path: PathBuf, permissions: Option<std::fs::Permissions> },
}

/// Finds the target of a path, and refuses one that must not be replaced.
fn destination(path: &Path, format: Format) -> Result<Destination> {
    let refuse = |why: String| Failure::new(Exit::Usage, format!("{} {why}", path.display()));
    let open = || fs::OpenOptions::new().append(true).open(path).or_exit(Exit::Usage, "cannot write");
    if is_descriptor(path) {
        return Ok(Destination::Stream(open()?));
    }
    let target = follow(path);
    let name = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.parse::<FileName>().is_ok() {
        let why = "has the name of a coverage file, and would be read as one".to_owned();
        return Err(refuse(why).with_hint("give another name with -o").into());
    }
    let Ok(before) = fs::metadata(&target) else {
        return Ok(Destination::File { path: target, permissions: None });
    };
    if before.is_dir() {
        return Err(refuse("is a folder".to_owned()).with_hint("give the name of a file with -o").into());
    }
    if !before.is_file() {
        return Ok(Destination::Stream(open()?));
    }
    if before.permissions().readonly() {
        return Err(refuse("is read-only".to_owned()).with_hint("give another file with -o").into());
    }
    let mut start = Vec::new();
    let read = fs::File::open(&target).and_then(|file| file.take(START).read_to_end(&mut start));
    read.or_exit(Exit::Usage, "cannot tell what would be replaced")?;
    if !format.is_in(&start) {
        let why = format!("is there and is no {}, so it is left as it is", format.name());
        return Err(refuse(why).with_hint("give another file with -o, or remove that one").into());
    }
    Ok(Destination::File { path: target, permissions: Some(before.permissions()) })
}

/// Whether a path stands for a file descriptor. Its target belongs to the program that opened it.
fn is_descriptor(path: &Path) -> bool {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut parts = path.components().skip_while(|part| *part == Component::RootDir);
    let mut next = || parts.next().and_then(|part| part.as_os_str().to_str());
    match next() {
        Some("dev") => matches!(next(), Some("fd" | "stdin" | "stdout" | "stderr")),
        Some("proc") => true,
        _ => false,
    }
}

/// Follows links, also to a file that does not exist yet. A link is kept, and its target is written.
fn follow(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // The limit of Linux.
    for _ in 0..40 {
        let Ok(to) = fs::read_link(&path) else { break };
        path = path.parent().map_or_else(|| to.clone(), |folder| folder.join(&to));
    }
    path
}

/// Writes a file, which appears when it is complete.
fn replace(
    path: &Path,
    permissions: Option<std::fs::Permissions>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    // The permissions of the replaced file are kept.
    let file = whole_file(path, permissions, fill)?;
    match file.persist(path) {
        // A mounted file, as in a container, cannot be replaced, so it is written in place.
        Err(error) if error.error.kind() == io::ErrorKind::ResourceBusy => {
            fs::copy(error.file.path(), path).map(drop)
        }
        Err(error) => Err(error.error),
        Ok(_) => Ok(()),
    }
}

/// Writes to a temporary file in the folder of the final path. It is removed unless it is kept.
fn whole_file(
    path: &Path,
    permissions: Option<std::fs::Permissions>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = format!(".{name}.");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    // The permissions are those of any new file: the user's mask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    let mut out = BufWriter::with_capacity(BUFFER, file.as_file_mut());
    fill(&mut out)?;
    out.flush()?;
    drop(out);
    Ok(file)
}

/// Writes files into a folder: all of them, or none. Each file appears when it is complete, and other files in the folder
/// stay. A folder with coverage files is refused, because these would later be read together with the result.
pub(crate) fn write_folder(dir: &Path, files: &[NewFile<'_>]) -> Result<()> {
    let cannot = || format!("cannot write to {}", dir.display());
    if dir.exists() && !dir.is_dir() {
        let failure = Failure::new(Exit::Usage, format!("{} is no folder", dir.display()));
        return Err(failure.with_hint("give a folder with -o: the result is several files").into());
    }
    fs::create_dir_all(dir).or_exit(Exit::Usage, cannot())?;
    for entry in fs::read_dir(dir).or_exit(Exit::Usage, cannot())? {
        let name = entry.or_exit(Exit::Usage, cannot())?.file_name();
        if name.to_str().is_some_and(|name| name.parse::<FileName>().is_ok()) {
            let why = format!("{} holds coverage files already, as {}", dir.display(), name.display());
            return Err(Failure::new(Exit::Usage, why)
                .with_hint("give a new folder with -o, or empty this one: the result would be added to what is in it")
                .into());
        }
    }
    let mut written = HashSet::new();
    for (name, bytes) in files {
        let path = dir.join(name.to_string());
        if written.contains(&path) {
            // Two binaries with the same selected packages have one file: its name has a hash of the content.
            continue;
        }
        let file = whole_file(&path, None, |out| out.write_all(bytes));
        let kept = file.and_then(|file| file.persist_noclobber(&path).map_err(|error| error.error));
        if let Err(error) = kept {
            written.iter().for_each(|path| drop(fs::remove_file(path)));
            return Err(error).or_exit(Exit::Usage, format!("cannot write {}", path.display()));
        }
        written.insert(path);
    }
    Ok(())
}

/// The buffer is small, so that large pieces are written without a copy.
const BUFFER: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_file_descriptors() {
        for path in ["/dev/stderr", "/dev/fd/3", "/proc/self/fd/3", "/dev/../dev/stdout"] {
            assert_eq!(is_descriptor(Path::new(path)), !path.contains(".."), "{path}");
        }
        for path in ["/dev/shm/x", "dev/fd/3", "/tmp/proc/x", "-", "/dev/null"] {
            assert!(!is_descriptor(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn formats() {
        for (format, start) in [
            (Format::Text, "mode: set\n"),
            (Format::Lcov, "TN:\nSF:a.go\n"),
            (Format::Json, "{\"version\":1,\"podcov\":\"0.1.0\",\"mode\":null"),
            (Format::Markdown, "### Go coverage: 1.0%\n"),
        ] {
            assert!(format.is_in(start.as_bytes()) && format.is_in(b""), "{start}");
            for other in [start.replacen(&start[..4], "x", 1), "package a\n".to_owned(), "{}".to_owned()] {
                assert!(!format.is_in(other.as_bytes()), "{other}");
            }
        }
    }
}
