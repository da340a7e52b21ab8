//! The packages of the user's own modules, as `go list ./...` on this machine gives them.

use std::collections::HashSet;
use std::env::consts;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::Filter;
use crate::sources::{Found, Module, Sources, above, clean, is_ignored, read_text};

/// The pattern of import paths for a relative pattern, as the `go` command resolves it: `.`, `./x`, `./...`, `../x/...`,
/// from a folder. `None` if the pattern is not relative, and so is one of import paths already.
///
/// # Errors
///
/// [`NoModule`] if there is no `go.mod` that tells the import paths.
pub fn import_pattern(work: &Path, pattern: &str) -> Option<Result<String, NoModule>> {
    let is_relative = matches!(pattern.split('/').next(), Some("." | ".."));
    is_relative.then(|| {
        let (mut folder, mut rest) = (work.to_path_buf(), Vec::new());
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            if rest.is_empty() && !part.contains("...") {
                folder.push(part);
            } else {
                rest.push(part);
            }
        }
        let folder = clean(&folder);
        let module = above(&folder, "go.mod").as_deref().and_then(Module::read);
        let module = module.ok_or_else(|| NoModule { folder: folder.clone() })?;
        let inside = folder.strip_prefix(&module.folder).unwrap_or(Path::new(""));
        let inside = inside.components().map(|part| part.as_os_str().to_string_lossy());
        let parts = std::iter::once(module.path.into()).chain(inside).chain(rest.into_iter().map(Into::into));
        Ok(parts.collect::<Vec<_>>().join("/"))
    })
}

/// Why a relative pattern cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no go.mod at or above {}", folder.display())]
pub struct NoModule {
    /// The folder that the pattern names.
    pub folder: PathBuf,
}

/// The packages that have code but no coverage data: they were not built into the program, or without coverage. Only modules
/// with another package in the data are searched.
///
/// `known` are the import paths of the data, `files` the names of its files.
#[must_use]
pub fn without_data<'d>(
    sources: &Sources,
    filter: &Filter,
    known: impl Iterator<Item = &'d str>,
    files: impl Iterator<Item = &'d str>,
) -> Vec<String> {
    let known: HashSet<&str> = known.collect();
    // A program that was built from files, not from a package, names these by their paths.
    let files: HashSet<&str> = files.filter(|name| Path::new(name).is_absolute()).collect();
    let folders: HashSet<PathBuf> =
        files.into_iter().filter_map(|name| Some(sources.find(name).file?.parent()?.to_path_buf())).collect();
    let with_data: HashSet<&str> =
        known.iter().filter_map(|path| module_of(sources.modules(), path)).collect();
    let mut out = Vec::new();
    for module in sources.modules().iter().filter(|module| with_data.contains(module.path.as_str())) {
        let mut dirs = vec![(module.path.clone(), module.folder.clone())];
        while let Some((path, dir)) = dirs.pop() {
            let (files, subdirs) = list(&dir);
            dirs.extend(subdirs.into_iter().map(|name| (format!("{path}/{name}"), dir.join(name))));
            let has_code = |name: &String| {
                let file = Found {
                    file: Some(dir.join(name)),
                    shown: sources.name_of(&dir.join(name)),
                    refused: false,
                };
                let source = read_text(&dir.join(name)).unwrap_or_default();
                is_built(name, &source)
                    && has_function(&source)
                    && !filter.leaves_out(&format!("{path}/{name}"), &file)
            };
            if !known.contains(path.as_str()) && !folders.contains(&dir) && files.iter().any(has_code) {
                out.push(path);
            }
        }
    }
    out.sort();
    out.dedup();
    out
}

/// The path of a package's module: the longest one that is a prefix of the package's path.
fn module_of<'m>(modules: &'m [Module], package: &str) -> Option<&'m str> {
    let is_in =
        |path: &&str| package.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    modules.iter().map(|module| module.path.as_str()).filter(is_in).max_by_key(|path| path.len())
}

/// The Go files of a package, without tests, and the folders in it that may hold other packages of the module.
fn list(dir: &Path) -> (Vec<String>, Vec<String>) {
    let (mut files, mut dirs) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type();
        if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
            if !is_ignored(&name, &entry.path()) && !entry.path().join("go.mod").is_file() {
                dirs.push(name);
            }
        } else if name.ends_with(".go") && !name.ends_with("_test.go") && !name.starts_with(['.', '_']) {
            files.push(name);
        }
    }
    files.sort();
    (files, dirs)
}

/// Whether a source file has a function with a body. Only lines in gofmt's form are recognized: parsing all files of a large
/// module would take seconds.
fn has_function(source: &str) -> bool {
    source.lines().any(|line| line.starts_with("func ") && line.trim_end().ends_with(['{', '}', '(', ',']))
}

/// Whether the `go` command builds a file on this machine: by its name and by its `//go:build` line. See
/// `go help buildconstraint`.
fn is_built(name: &str, source: &str) -> bool {
    let stem = name.strip_suffix(".go").unwrap_or(name);
    // The part before the first underscore is never the name of a system.
    let parts: Vec<&str> = stem.split('_').skip(1).collect();
    let fits = match parts[..] {
        [.., os, arch] if SYSTEMS.contains(&os) && PROCESSORS.contains(&arch) => has_tag(os) && has_tag(arch),
        [.., last] if SYSTEMS.contains(&last) || PROCESSORS.contains(&last) => has_tag(last),
        _ => true,
    };
    let before_package = source.lines().take_while(|line| !line.starts_with("package "));
    let mut constraints = before_package.filter_map(|line| line.strip_prefix("//go:build "));
    fits && constraints.next().is_none_or(|text| Constraint(text).any())
}

/// Whether a build tag is set on this machine.
fn has_tag(tag: &str) -> bool {
    let os = match consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let arch = match consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64",
        other => other,
    };
    // The release of Go is not known; it is assumed to be recent.
    tag == os
        || tag == arch
        || matches!(tag, "gc" | "cgo")
        || tag == "unix" && cfg!(unix)
        || tag.starts_with("go1.")
}

/// The rest of a `//go:build` line.
struct Constraint<'t>(&'t str);

impl Constraint<'_> {
    fn any(&mut self) -> bool {
        let mut holds = self.all();
        while self.takes("||") {
            holds |= self.all();
        }
        holds
    }

    fn all(&mut self) -> bool {
        let mut holds = self.one();
        while self.takes("&&") {
            holds &= self.one();
        }
        holds
    }

    fn one(&mut self) -> bool {
        let mut negated = false;
        while self.takes("!") {
            negated = !negated;
        }
        if self.0.trim_start().starts_with('(') {
            self.takes("(");
            let holds = self.any();
            self.takes(")");
            return holds != negated;
        }
        let text = self.0.trim_start();
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let (tag, rest) = text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()));
        self.0 = rest;
        has_tag(tag) != negated
    }

    fn takes(&mut self, token: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

/// Go: `internal/syslist`.
const SYSTEMS: [&str; 18] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
    "zos",
];
const PROCESSORS: [&str; 22] = [
    "386", "amd64", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64", "mips64le",
    "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64", "wasm", "amd64p32",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_patterns() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("repo/x");
        fs::create_dir_all(work.join("y")).unwrap();
        fs::write(dir.path().join("repo/go.mod"), "module example.com/m\n").unwrap();
        for (pattern, import) in [
            (".", "example.com/m/x"),
            ("./...", "example.com/m/x/..."),
            ("./y", "example.com/m/x/y"),
            ("./y/", "example.com/m/x/y"),
            ("./y/...", "example.com/m/x/y/..."),
            ("./y.../z", "example.com/m/x/y.../z"),
            ("..", "example.com/m"),
            ("../...", "example.com/m/..."),
            ("../z/./...", "example.com/m/z/..."),
        ] {
            assert_eq!(import_pattern(&work, pattern), Some(Ok(import.to_owned())), "{pattern}");
        }
        for pattern in ["", "...", "net/...", "example.com/m", ".x/..."] {
            assert_eq!(import_pattern(&work, pattern), None, "{pattern}");
        }
        let outside = import_pattern(&work, "../../...").unwrap();
        assert!(outside.unwrap_err().to_string().starts_with("there is no go.mod at or above "));
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn build_constraints() {
        for (name, line, built) in [
            ("a.go", "", true),
            ("linux.go", "", true),
            ("windows.go", "", true),
            ("a_linux.go", "", true),
            ("a_windows.go", "", false),
            ("a_arm64.go", "", false),
            ("a_linux_amd64.go", "", true),
            ("a_linux_arm64.go", "", false),
            ("a_windows_amd64.go", "", false),
            ("a_other.go", "", true),
            ("a.go", "//go:build ignore\n", false),
            ("a.go", "//go:build linux && !arm64\n", true),
            ("a.go", "//go:build (darwin || unix) && !(windows || integration)\n", true),
            ("a.go", "//go:build go1.21 && !cgo\n", false),
            ("a_windows.go", "//go:build linux\n", false),
        ] {
            assert_eq!(is_built(name, &format!("// Licence\n\n{line}\npackage p\n")), built, "{name} {line}");
        }
        for odd in ["", "(", "!", "&& ||", "a)", "((a"] {
            let _ = Constraint(odd).any();
        }
    }

    #[test]
    fn functions_by_their_lines() {
        for source in ["func f() {\n", "func (t *T) f() int { return 1 }", "func f(\n\tx int,\n) {"] {
            assert!(has_function(source), "{source}");
        }
        for source in
            ["package p\n\nconst x = 1\n", "func asm(x int) int\n", "var f = func() {}\n", "// func f() {"]
        {
            assert!(!has_function(source), "{source}");
        }
    }
}
