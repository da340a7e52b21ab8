//! Finds a profile's source files on this machine.
//!
//! A profile names a file by its package's import path and base name. The path of a module is replaced by the
//! module's folder. Modules are looked for in the working folder and above it, in its `go.work`, below the root, in
//! `replace` directives, in the `vendor` folder, and in the module cache.
//!
//! The names come from coverage data, and so from a pod. Reports get published, so a name must not be able to bring
//! any other file of this machine into one: see [`Sources::allows`].

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;

use crate::golang;
use crate::gomod::{GoMod, Replacement};

/// Finds source files.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The folder that paths in reports are relative to, with links resolved.
    root: PathBuf,
    /// The user's mappings: prefixes of names, and their replacements. The longest prefix is first.
    maps: Vec<(String, PathBuf)>,
    /// Folders by the import path that they stand for, the longest path first.
    folders: Vec<(String, PathBuf)>,
    /// `vendor` folders, and the standard library's, in which the import path is the path.
    roots: Vec<PathBuf>,
    /// The folders that sources may be in, with links resolved.
    allowed: Vec<PathBuf>,
    /// The user's own modules.
    modules: Vec<Module>,
    /// Whether some folders below the root were not searched.
    cut: bool,
}

/// A module in a folder of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its path.
    pub path: String,
    /// Where its `go.mod` is.
    pub folder: PathBuf,
}

impl Module {
    /// Reads a `go.mod`.
    pub(crate) fn read(file: &Path) -> Option<Self> {
        let path = GoMod::parse(&read_text(file).ok()?).module?;
        Some(Self { path, folder: file.parent()?.to_path_buf() })
    }
}

/// The result of looking for a source file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The file, if it was found.
    pub file: Option<PathBuf>,
    /// Its name in reports: its path from the root, with slashes; the profile's name for it if it is not below the root, or
    /// was not found.
    pub shown: String,
    /// Whether the name leads out of the folders that sources may be in, or to a file that is no Go source. Such a file is
    /// not read, whether it exists or not.
    pub refused: bool,
}

/// The largest number of folders below the root that are searched for modules.
pub const MAX_FOLDERS: usize = 100_000;

impl Sources {
    /// Looks for modules. Paths in reports are relative to `root`, `work` is the working folder, and `maps` are the user's
    /// mappings: prefixes of names, and their replacements.
    #[must_use]
    pub fn discover(root: &Path, work: &Path, maps: &[(String, PathBuf)]) -> Self {
        let [root, work] = [root, work].map(|path| resolve(path).unwrap_or_else(|_| clean(path)));
        let mut sources = Self { root: root.clone(), maps: maps.to_vec(), ..Self::default() };
        sources.maps.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        let mut modules = Vec::new();
        let off = env::var_os("GOWORK").is_some_and(|value| value == "off");
        if let Some(workspace) = above(&work, "go.work").filter(|_| !off) {
            sources.workspace(&workspace, &mut modules);
        }
        modules.extend(above(&work, "go.mod"));
        sources.cut = !below(&root, &mut modules, MAX_FOLDERS);
        let mut requires = BTreeMap::new();
        for module in modules {
            sources.module(&module, &mut requires);
        }
        if let Some(cache) = module_cache() {
            for (path, version) in requires {
                sources
                    .folders
                    .push((path.clone(), cache.join(format!("{}@{}", escape(&path), escape(&version)))));
            }
        }
        // Of several folders for one path, the first found one comes first.
        sources.folders.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let go = env::var_os("GOROOT").map_or_else(|| PathBuf::from("/usr/local/go"), PathBuf::from);
        sources.roots.push(go.join("src"));
        sources.allowed = sources.allowed_folders();
        sources
    }

    /// What paths in reports are relative to, with links resolved.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The user's own modules: in the `go.work`, in the working folder or above it, and below the root.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Whether there were more than [`MAX_FOLDERS`] below the root, so that modules may have been missed.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The import path of the package that a file is in, by the module whose folder it is in.
    #[must_use]
    pub fn package_of(&self, file: &Path) -> Option<String> {
        let folder = file.parent()?;
        let modules = self.modules.iter().filter(|module| folder.starts_with(&module.folder));
        let module = modules.max_by_key(|module| module.folder.components().count())?;
        let inside = folder.strip_prefix(&module.folder).ok()?.components();
        let inside = inside.map(|part| part.as_os_str().to_string_lossy());
        Some(std::iter::once(module.path.as_str().into()).chain(inside).collect::<Vec<_>>().join("/"))
    }

    /// The name in reports of a file of this machine.
    pub(crate) fn name_of(&self, file: &Path) -> String {
        self.shown(file).unwrap_or_else(|| file.display().to_string())
    }

    /// Looks for a file by a profile's name for it.
    #[must_use]
    pub fn find(&self, name: &str) -> Found {
        let candidates = self.candidates(name);
        let mut refused = candidates.iter().all(|path| !self.is_below_allowed(&clean(path)));
        for file in candidates.iter().filter(|path| path.is_file()) {
            if self.allows(file) {
                let shown = self.shown(file).or_else(|| self.shown(&resolve(file).ok()?));
                let shown = shown.unwrap_or_else(|| name.to_owned());
                return Found { file: Some(file.clone()), shown, refused: false };
            }
            refused = true;
        }
        // A file that was not found gets the path that it would have in a module below this root.
        let place =
            self.folders.iter().find_map(|(path, folder)| self.shown(&folder.join(inside(name, path)?)));
        Found { file: None, shown: place.unwrap_or_else(|| name.to_owned()), refused }
    }

    /// Whether a file may be read as a source: links resolved, it is below the root, a module's folder, the module
    /// cache, the standard library or the target of a `--map`, and not in a hidden folder there, as `.git` is, with
    /// its credentials. And it is Go source, or a Go file beside it names it in a `//line` directive.
    fn allows(&self, file: &Path) -> bool {
        resolve(file).is_ok_and(|file| {
            let is_go = file.extension().is_some_and(|extension| extension == "go");
            self.is_below_allowed(&file) && (is_go || is_in_line_directive(&file))
        })
    }

    /// Whether a path is below a folder that sources may be in, and nothing on the way from there is hidden.
    fn is_below_allowed(&self, path: &Path) -> bool {
        let is_hidden = |part: Component<'_>| part.as_os_str().to_string_lossy().starts_with('.');
        let below = |folder: &PathBuf| path.strip_prefix(folder).ok();
        self.allowed.iter().filter_map(below).any(|rest| !rest.components().any(is_hidden))
    }

    fn allowed_folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.root.clone()];
        folders.extend(self.maps.iter().map(|(_, to)| to.clone()));
        let cache = module_cache();
        folders.extend(cache.clone());
        folders.extend(self.roots.iter().cloned());
        // A `replace` may name any folder, but Go takes one with a go.mod alone. Of the hundreds in the cache none is looked
        // at: the cache is allowed as a whole.
        let is_cached = |folder: &Path| cache.as_ref().is_some_and(|cache| folder.starts_with(cache));
        let modules = self.folders.iter().map(|(_, folder)| folder).filter(|folder| !is_cached(folder));
        folders.extend(modules.filter(|folder| folder.join("go.mod").is_file()).cloned());
        // Both forms are checked, because links in the path of a missing file cannot be resolved.
        let resolved: Vec<_> = folders.iter().filter_map(|folder| resolve(folder).ok()).collect();
        folders.extend(resolved);
        folders.sort();
        folders.dedup();
        folders
    }

    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        let mut out = Vec::new();
        for (from, to) in &self.maps {
            if let Some(rest) = inside(name, from) {
                out.push(to.join(rest));
            }
        }
        if Path::new(name).is_absolute() {
            out.push(PathBuf::from(name));
            return out;
        }
        for (path, folder) in &self.folders {
            if let Some(rest) = inside(name, path) {
                out.push(folder.join(rest));
            }
        }
        out.extend(self.roots.iter().map(|root| root.join(name)));
        // Built from files with -trimpath, or named relative to where the tests ran.
        out.push(self.root.join(name.strip_prefix("command-line-arguments/").unwrap_or(name)));
        out
    }

    /// A path from the root, with slashes; `None` where it is not below the root.
    fn shown(&self, path: &Path) -> Option<String> {
        let path = clean(path);
        let parts = path.strip_prefix(&self.root).ok()?.components();
        Some(parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/"))
    }

    fn workspace(&mut self, file: &Path, modules: &mut Vec<PathBuf>) {
        let (Ok(text), Some(folder)) = (read_text(file), file.parent()) else { return };
        let parsed = GoMod::parse(&text);
        modules.extend(parsed.uses.iter().map(|used| clean(&folder.join(used)).join("go.mod")));
        self.replaces(&parsed, folder, &mut BTreeMap::new());
        self.roots.push(folder.join("vendor"));
    }

    fn module(&mut self, file: &Path, requires: &mut BTreeMap<String, String>) {
        let (Ok(text), Some(folder)) = (read_text(file), file.parent()) else { return };
        let parsed = GoMod::parse(&text);
        if let Some(module) = &parsed.module {
            self.folders.push((module.clone(), folder.to_path_buf()));
            // Another module of the same path is a copy.
            if self.modules.iter().all(|known| known.path != *module) {
                self.modules.push(Module { path: module.clone(), folder: folder.to_path_buf() });
            }
        }
        for (path, version) in &parsed.requires {
            requires.entry(path.clone()).or_insert_with(|| version.clone());
        }
        self.replaces(&parsed, folder, requires);
        self.roots.push(folder.join("vendor"));
    }

    fn replaces(&mut self, parsed: &GoMod, folder: &Path, requires: &mut BTreeMap<String, String>) {
        for (path, replacement) in &parsed.replaces {
            match replacement {
                Replacement::Folder(to) => self.folders.push((path.clone(), clean(&folder.join(to)))),
                Replacement::Module(module, version) => {
                    requires.remove(path);
                    if let Some(cache) = module_cache() {
                        let to = cache.join(format!("{}@{}", escape(module), escape(version)));
                        self.folders.push((path.clone(), to));
                    }
                }
            }
        }
    }
}

/// Whether a Go file in the same folder names this file in a `//line` directive, as goyacc's output names its grammar.
fn is_in_line_directive(file: &Path) -> bool {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut go_files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "go"));
    go_files.any(|path| read_text(&path).is_ok_and(|source| golang::has_line_directive(&source, name)))
}

/// Reads a text file of the user's. Devices and pipes, which may have no end, and files that are too large for a source are
/// refused. The error does not have the path, because it is written into reports.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let reason = |error: io::Error| format!("it cannot be read: {}", error.kind());
    let about = fs::metadata(path).map_err(reason)?;
    if !about.is_file() {
        return Err("it is no regular file".to_owned());
    }
    if about.len() > MAX_SIZE {
        return Err(format!("it is larger than {} MiB", MAX_SIZE >> 20));
    }
    String::from_utf8(fs::read(path).map_err(reason)?).map_err(|_| "it is not UTF-8".to_owned())
}

/// The largest size of a source file in bytes, far more than that of any real one.
const MAX_SIZE: u64 = 64 << 20;

/// A path with all links resolved.
///
/// # Errors
///
/// If the path does not exist.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let path = fs::canonicalize(path)?;
    // Windows has two forms of absolute paths; git and people use only the plain one.
    let plain =
        path.to_str().and_then(|text| text.strip_prefix(r"\\?\")).filter(|rest| rest.get(1..2) == Some(":"));
    Ok(plain.map_or_else(|| path.clone(), PathBuf::from))
}

/// The rest of a name after a folder's name.
fn inside<'n>(name: &'n str, folder: &str) -> Option<&'n str> {
    let rest = name.strip_prefix(folder.strip_suffix('/').unwrap_or(folder))?;
    rest.strip_prefix('/').filter(|rest| !rest.is_empty())
}

/// The file of this name in a folder or the nearest one above it.
pub(crate) fn above(folder: &Path, name: &str) -> Option<PathBuf> {
    folder.ancestors().map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Adds the `go.mod` files in a folder and below it, those nearer first. Gives `false` if it stopped at the limit of
/// folders.
fn below(root: &Path, modules: &mut Vec<PathBuf>, max_folders: usize) -> bool {
    let mut level = vec![root.to_path_buf()];
    let mut seen = 0;
    while !level.is_empty() {
        let mut next = Vec::new();
        for folder in level {
            seen += 1;
            if seen > max_folders {
                return false;
            }
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.filter_map(Result::ok) {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name == "go.mod" {
                    modules.push(entry.path());
                } else if entry.file_type().is_ok_and(|kind| kind.is_dir())
                    && !is_ignored(&name, &entry.path())
                {
                    next.push(entry.path());
                }
            }
        }
        next.sort();
        level = next;
    }
    true
}

/// Whether a folder holds none of the user's packages: the `go` command ignores it, or its content was made by another
/// program, which marks it as a cache (<https://bford.info/cachedir/>).
pub(crate) fn is_ignored(name: &str, folder: &Path) -> bool {
    name.starts_with(['.', '_'])
        || matches!(name, "vendor" | "testdata" | "node_modules")
        || ["/proc", "/sys", "/dev"].iter().any(|system| folder == Path::new(system))
        || folder.join("CACHEDIR.TAG").is_file()
}

/// Where the `go` command keeps modules.
fn module_cache() -> Option<PathBuf> {
    let given = env::var_os("GOMODCACHE").map(PathBuf::from);
    let path = env::var_os("GOPATH").and_then(|paths| env::split_paths(&paths).next());
    let home = || env::home_dir().map(|home| home.join("go"));
    given.or_else(|| Some(path.or_else(home)?.join("pkg/mod")))
}

/// A module's path or version as a folder's name: an exclamation mark stands for a capital letter.
fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| [c.is_ascii_uppercase().then_some('!'), Some(c.to_ascii_lowercase())])
        .flatten()
        .collect()
}

/// A path without `.` and `..`, as far as these can be removed.
pub(crate) fn clean(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut out, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => drop(out.pop()),
            part => out.push(part),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    const SECRET: &str = "package secret\n\nfunc Secret() {}\n";
    const SOURCE: &str = "package m\n\nfunc F() {}\n";

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A repository with the module `m`, a module that it replaces, and files outside of them that must not be read.
    fn machine() -> (TempDir, Sources) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let replaces = "replace (\n\tother => ../other\n\tnone => ../private\n\tall => ../..\n)\n";
        write(&path("repo/go.mod"), &format!("module m\n{replaces}"));
        for source in ["repo/a.go", "repo/x/a.go", "repo/_x/a.go", "other/a.go", "mapped/a.go"] {
            write(&path(source), SOURCE);
        }
        write(&path("repo/x/gen.go"), "package x\n\n//line grammar.y:3\nfunc F() {}\n");
        write(&path("repo/x/grammar.y"), SOURCE);
        write(&path("other/go.mod"), "module other\n");
        for secret in [
            "repo/.git/config",
            "repo/.git/a.go",
            "repo/.env",
            "repo/x/key.pem",
            "repo/x/.netrc",
            "private/a.go",
            "private/id_rsa",
            "a.go",
        ] {
            write(&path(secret), SECRET);
        }
        #[cfg(unix)]
        for (link, to) in [
            ("repo/x/link.go", "../../private/a.go"),
            ("repo/x/key.go", "key.pem"),
            ("repo/x/git.go", "../.git/a.go"),
            ("repo/folder", "../private"),
            ("repo/x/good.go", "../a.go"),
        ] {
            std::os::unix::fs::symlink(to, path(link)).unwrap();
        }
        let root = path("repo");
        let sources = Sources::discover(&root, &root.join("x"), &[("/src".to_owned(), path("mapped"))]);
        (dir, sources)
    }

    #[test]
    fn files_of_the_host_are_no_sources() {
        let (dir, sources) = machine();
        let here = resolve(dir.path()).unwrap();
        let absolute = |name: &str| here.join(name).display().to_string();
        for (name, shown) in [
            ("m/a.go".to_owned(), "a.go"),
            ("m/x/a.go".to_owned(), "x/a.go"),
            ("m/_x/a.go".to_owned(), "_x/a.go"),
            ("m/x/../a.go".to_owned(), "a.go"),
            ("m/x/grammar.y".to_owned(), "x/grammar.y"),
            ("other/a.go".to_owned(), "other/a.go"),
            ("/src/a.go".to_owned(), "/src/a.go"),
            (absolute("repo/a.go"), "a.go"),
            (absolute("other/a.go"), &absolute("other/a.go")),
        ] {
            let found = sources.find(&name);
            assert_eq!(fs::read_to_string(found.file.expect(&name)).unwrap(), SOURCE, "{name}");
            assert_eq!((found.shown.as_str(), found.refused), (shown, false), "{name}");
        }
        for name in [
            "m/../a.go",
            "m/../private/id_rsa",
            "m/x/../../private/a.go",
            "m/.git/config",
            "m/.git/a.go",
            "m/.env",
            "m/x/.netrc",
            "m/x/key.pem",
            "m/x/./key.pem",
            "none/a.go",
            "none/id_rsa",
            "other/../private/a.go",
            "/src/../private/a.go",
            "../a.go",
            "/etc/passwd",
            "command-line-arguments/../private/a.go",
            &absolute("private/a.go"),
            &absolute("private/id_rsa"),
            &absolute("private/is_not_there"),
            &absolute("repo/../private/a.go"),
        ] {
            let found = sources.find(name);
            assert_eq!((found.file, found.refused), (None, true), "{name}");
        }
        // A missing file is not found, but not refused.
        for name in ["m/none.go", "unknown.org/a.go"] {
            assert_eq!(sources.find(name), Found { file: None, shown: found_as(name), refused: false });
        }
    }

    fn found_as(name: &str) -> String {
        name.strip_prefix("m/").unwrap_or(name).to_owned()
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_nowhere_else() {
        let (_dir, sources) = machine();
        for name in ["m/x/link.go", "m/x/key.go", "m/x/git.go", "m/folder/a.go", "m/folder/id_rsa"] {
            assert_eq!(sources.find(name).file, None, "{name}");
            assert!(sources.find(name).refused, "{name}");
        }
        assert!(sources.find("m/x/good.go").file.is_some());
    }

    #[test]
    fn modules_however_deep() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("1/2/3/4/5/6/7/8/9/go.mod"), "module deep\n");
        write(&dir.path().join("1/2/3/4/5/6/7/8/9/a.go"), SOURCE);
        write(&dir.path().join("target/go.mod"), "module target\n");
        write(&dir.path().join("built/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n");
        for ignored in ["built", "vendor/x", "testdata", "_x", ".x"] {
            write(&dir.path().join(ignored).join("go.mod"), "module no\n");
        }
        let sources = Sources::discover(dir.path(), dir.path(), &[]);
        assert_eq!(sources.find("deep/a.go").shown, "1/2/3/4/5/6/7/8/9/a.go");
        let file = sources.find("deep/a.go").file.unwrap();
        assert_eq!(sources.package_of(&file.with_file_name("x").join("a.go")).unwrap(), "deep/x");
        let modules: Vec<&str> = sources.modules().iter().map(|module| module.path.as_str()).collect();
        assert_eq!((modules, sources.is_cut()), (vec!["target", "deep"], false));
        let mut found = Vec::new();
        assert!(!below(dir.path(), &mut found, 5));
        assert!(below(dir.path(), &mut found, 11));
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_not_read() {
        let (dir, _) = machine();
        for name in ["device/go.mod", "x/zero.go"] {
            let path = dir.path().join("repo").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        }
        let root = dir.path().join("repo");
        let sources = Sources::discover(&root, &root, &[]);
        assert_eq!(sources.find("m/x/zero.go").file, None);
        // In the same folder, a file that a line directive names.
        assert!(sources.find("m/x/grammar.y").file.is_some());
        assert!(!sources.find("m/x/other.y").refused);
        let known = ["m"].into_iter();
        let missing = crate::without_data(&sources, &crate::Filter::default(), known, std::iter::empty());
        assert_eq!(missing, ["m/x"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_root_that_is_a_link() {
        let (dir, _) = machine();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("repo", &link).unwrap();
        let real = resolve(&link).unwrap();
        for work in [&link, &real] {
            let sources = Sources::discover(&link, work, &[]);
            for name in
                ["m/x/a.go", real.join("x/a.go").to_str().unwrap(), link.join("x/a.go").to_str().unwrap()]
            {
                assert_eq!(sources.find(name).shown, "x/a.go", "{name} from {}", work.display());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        /// Names from all the parts of paths on this machine, in any order.
        #[test]
        fn no_name_leads_to_a_secret(
            absolute in any::<bool>(),
            parts in prop::collection::vec(prop::sample::select(vec![
                "", ".", "..", "m", "other", "none", "all", "src", "command-line-arguments", "repo", "x", "_x", ".git",
                "private", "folder", "a.go", "config", ".env", "key.pem", "key.go", "git.go", "link.go", "good.go",
                "id_rsa", "grammar.y", "mapped",
            ]), 1..7),
        ) {
            thread_local!(static MACHINE: (TempDir, Sources) = machine());
            MACHINE.with(|(dir, sources)| {
                let mut name = parts.join("/");
                if absolute {
                    name = format!("{}/{name}", dir.path().display());
                }
                if let Some(file) = sources.find(&name).file {
                    let text = fs::read_to_string(&file).unwrap();
                    prop_assert!(text != SECRET, "{name} is {}", file.display());
                }
                Ok(())
            })?;
        }
    }
}
