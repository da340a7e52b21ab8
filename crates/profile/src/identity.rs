//! Gives each source file one name.
//!
//! The `go` command names a source file by its package. But a program that was built from files (`go build main.go`) has
//! a package `command-line-arguments` in the data, with the paths that these files had on the machine that built it. So
//! one file may have two names, and two programs' files may have the same name.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use covdata::{Function, Mode};

use crate::binary::BinaryNames;
use crate::counts::merge_blocks;
use crate::data::{Data, RenamedFile};
use crate::profile::Block;
use crate::programs::{Build, FROM_FILES, agree, is_path, programs_of_path};

/// The most elements of a module's path, and of a file's path in its module, that are looked at.
const MOST_ELEMENTS: usize = 32;

/// The most files of a program that are looked at: all of a command's files are in one folder, so one tells its name.
const MOST_FILES: usize = 1_000;

/// The most files of modules whose blocks are compared with those of a program's files.
const MOST_COMPARED: usize = 100;

/// What [`Data::identify`] could not decide.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undecided {
    /// The new names that no program gets, because nothing tells which of several it belongs to.
    pub names: Vec<RenamedFile>,
    /// The files of several programs that only their hashes tell apart, so that these may be one program, built from
    /// different versions of its source.
    pub by_hash: Vec<String>,
}

impl Data<'_> {
    /// The names of files that are paths on the machine which built the program, each once.
    #[must_use]
    pub fn path_names(&self) -> Vec<String> {
        let binaries = self.builds().flat_map(|build| build.files.into_keys());
        let texts = self.text.iter().flat_map(|text| text.files.keys()).filter(|name| is_path(name)).cloned();
        binaries.chain(texts).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Renames files that are named by a path: their new name begins with the import path of their package.
    ///
    /// `import_name` gives the name for a path, if the caller knows it. Otherwise the new name is that of another file in
    /// the data which has the same blocks, belongs to a module that the program contains, and ends as the path does.
    ///
    /// If different programs have files of one path, these get different names. Then the name for the path belongs to the
    /// program whose blocks are those of the file of that name: of the one in the data, else of the source, which `fits` looks
    /// at.
    #[must_use]
    pub fn identify(
        &mut self,
        import_name: impl Fn(&str) -> Option<String>,
        fits: impl Fn(&str, &[Block]) -> bool,
    ) -> Undecided {
        let programs = self.programs();
        let (names, not_given) = self.names_of_programs(&programs, &import_name, fits);
        let labels = labels_of_programs(&programs, &names);
        let undecided = Undecided { names: not_given, by_hash: told_apart_by_hash(&programs, &labels) };
        let mut renamed = BTreeSet::new();
        for ((program, name), label) in programs.into_iter().zip(names).zip(labels) {
            for build in program {
                let Some(names) = names_of(&build, name.as_ref(), label.as_ref()) else { continue };
                renamed.extend(names.files.iter().map(|(from, to)| (from.clone(), to.clone())));
                self.binaries[build.binary].names = Some(names);
            }
        }
        self.renamed_texts = self.names_of_texts(self, import_name);
        renamed.extend(self.renamed_texts.iter().map(|RenamedFile { from, to }| (from.clone(), to.clone())));
        self.rename_texts();
        self.renamed = renamed.into_iter().map(|(from, to)| RenamedFile { from, to }).collect();
        let mut suites = std::mem::take(&mut self.suites);
        suites.iter_mut().for_each(|suite| suite.identify_as(self));
        self.suites = suites;
        undecided
    }

    /// Renames the files that [`identify`](Self::identify) has renamed in other data, and the files of text profiles that a
    /// program in the other data has under another name.
    pub fn identify_as(&mut self, all: &Data<'_>) {
        let names = all.binaries.iter().map(|counted| (counted.binary.file.hash, &counted.names));
        let names: HashMap<_, _> = names.collect();
        for counted in &mut self.binaries {
            counted.names = names.get(&counted.binary.file.hash).and_then(|names| (*names).clone());
        }
        self.renamed.clone_from(&all.renamed);
        self.renamed_texts.clone_from(&all.renamed_texts);
        self.rename_texts();
        let texts = self.names_of_texts(all, |_| None);
        self.renamed.extend_from_slice(&texts);
        self.renamed_texts.extend(texts);
        self.rename_texts();
    }

    /// The new names of files in text profiles: those that the caller knows, or those of a program in `all` that was built
    /// from a file of the same path and has the same blocks.
    fn names_of_texts(
        &self,
        all: &Data<'_>,
        import_name: impl Fn(&str) -> Option<String>,
    ) -> Vec<RenamedFile> {
        let files = self.text.iter().flat_map(|text| &text.files).filter(|(name, _)| is_path(name));
        // Without such files, which is usual, no program is looked at.
        let builds: LazyCell<Vec<Build>, _> = LazyCell::new(|| all.builds().collect());
        let names = files.filter_map(|(from, file)| {
            let of_program = || {
                let fitting = builds.iter().filter_map(|build| {
                    let names = all.binaries[build.binary].names.as_ref()?;
                    let to = names.files.get(from)?;
                    agree(&file.blocks, &build.files[from]).then_some(to)
                });
                let mut names = fitting.collect::<BTreeSet<_>>().into_iter();
                names.next().filter(|_| names.next().is_none()).cloned()
            };
            Some(RenamedFile { from: from.clone(), to: import_name(from).or_else(of_program)? })
        });
        names.collect()
    }

    fn rename_texts(&mut self) {
        let Some(text) = &mut self.text else { return };
        for RenamedFile { from, to } in &self.renamed_texts {
            if let Some(file) = text.files.remove(from) {
                text.add_file(to.clone(), file);
            }
        }
    }

    /// The files that [`identify`](Self::identify) has renamed.
    #[must_use]
    pub fn renamed(&self) -> &[RenamedFile] {
        &self.renamed
    }

    /// For each program a file's path and its new name, and the names that different programs would have.
    fn names_of_programs(
        &self,
        programs: &[Vec<Build>],
        import_name: &impl Fn(&str) -> Option<String>,
        fits: impl Fn(&str, &[Block]) -> bool,
    ) -> (Vec<Option<RenamedFile>>, Vec<RenamedFile>) {
        if programs.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let known: HashSet<&str> = self.file_names().filter(|name| !is_path(name)).collect();
        let modules = programs.iter().flat_map(|program| &program[0].modules).map(String::as_str).collect();
        let module_files = ModuleFiles::new(&known, &modules);
        // Many names may be compared, so the functions are looked at once for all.
        let functions = LazyCell::new(|| self.functions_by_file());
        let agrees = |name: &str, blocks: &[Block]| agree(blocks, &self.blocks_of(name, &functions));
        let mut names = Vec::new();
        let mut programs_of_name = BTreeMap::<String, Vec<usize>>::new();
        for (number, program) in programs.iter().enumerate() {
            let build = &program[0];
            let mut compared = 0;
            let name = build.files.iter().take(MOST_FILES).find_map(|(path, blocks)| {
                let by_module = || {
                    let names = module_files.that_end_as(path, &build.modules);
                    let mut names = names.take(MOST_COMPARED - compared).inspect(|_| compared += 1);
                    names.find(|name| agrees(name, blocks)).map(str::to_owned)
                };
                let to = import_name(path).or_else(by_module)?;
                Some(RenamedFile { from: path.clone(), to })
            });
            if let Some(name) = &name {
                programs_of_name.entry(name.to.clone()).or_default().push(number);
            }
            names.push(name);
        }
        let mut undecided = Vec::new();
        for (to, numbers) in programs_of_name.into_iter().filter(|(_, numbers)| numbers.len() > 1) {
            let path =
                |number: usize| names[number].as_ref().map(|name| name.from.clone()).unwrap_or_default();
            let from = path(numbers[0]);
            let mut fitting = numbers.iter().copied().filter(|&number| {
                let path = path(number);
                let blocks = &programs[number][0].files[&path];
                if known.contains(to.as_str()) { agrees(&to, blocks) } else { fits(&path, blocks) }
            });
            let only = fitting.next().filter(|_| fitting.next().is_none());
            if only.is_none() {
                undecided.push(RenamedFile { from, to });
            }
            for number in numbers.into_iter().filter(|&number| Some(number) != only) {
                names[number] = None;
            }
        }
        (names, undecided)
    }

    /// The functions of all binaries, by the name of the file in the meta-data.
    fn functions_by_file(&self) -> HashMap<&str, Vec<Function<'_>>> {
        let mut files = HashMap::<_, Vec<_>>::new();
        for package in self.binaries.iter().flat_map(|counted| &counted.binary.file.packages) {
            for function in package.functions() {
                files.entry(package.string(function.file)).or_default().push(function);
            }
        }
        files
    }

    /// All blocks of a file in the data.
    fn blocks_of(&self, name: &str, functions: &HashMap<&str, Vec<Function<'_>>>) -> Vec<Block> {
        let units = functions.get(name).into_iter().flatten().flat_map(Function::units);
        let mut blocks: Vec<_> = units.map(|unit| Block { unit, count: 0, function: None }).collect();
        let texts = self.text.iter().filter_map(|text| text.files.get(name));
        blocks.extend(texts.flat_map(|file| &file.blocks));
        merge_blocks(&mut blocks, Mode::Count);
        blocks
    }
}

/// The files of some modules, by module and by what comes after its path in their names.
struct ModuleFiles<'a>(HashMap<&'a str, BTreeMap<&'a str, &'a str>>);

impl<'a> ModuleFiles<'a> {
    fn new(names: &HashSet<&'a str>, modules: &HashSet<&'a str>) -> Self {
        let mut files = HashMap::<&str, BTreeMap<&str, &str>>::new();
        for &name in names {
            for (slash, _) in name.match_indices('/').take(MOST_ELEMENTS) {
                let (module, rest) = name.split_at(slash);
                if modules.contains(module) {
                    files.entry(rest).or_default().insert(module, name);
                }
            }
        }
        Self(files)
    }

    /// The names of files in these modules that end as a path does: those that have most in common with it first.
    fn that_end_as<'s>(
        &'s self,
        path: &'s str,
        modules: &'s BTreeSet<String>,
    ) -> impl Iterator<Item = &'a str> + use<'s, 'a> {
        let mut slashes: Vec<usize> =
            path.rmatch_indices('/').take(MOST_ELEMENTS).map(|(slash, _)| slash).collect();
        slashes.reverse();
        let by_module = slashes.into_iter().filter_map(|slash| self.0.get(&path[slash..]));
        by_module.flatten().filter(|(module, _)| modules.contains(**module)).map(|(_, name)| *name)
    }
}

/// What tells a program's files from those of another program.
struct Label {
    text: String,
    /// Whether its hash is a part of it.
    by_hash: bool,
}

/// For each program without a name that another program has files of the same path, a label that tells it from these: its
/// module if that is known, and the binary's hash if that is not enough.
fn labels_of_programs(programs: &[Vec<Build>], names: &[Option<RenamedFile>]) -> Vec<Option<Label>> {
    let programs_of_path = programs_of_path(programs);
    let module = |program: &[Build]| match program[0].modules.iter().collect::<Vec<_>>()[..] {
        [module] => Some(module.clone()),
        _ => None,
    };
    let mut programs_of_module = HashMap::<String, usize>::new();
    for module in programs.iter().filter_map(|program| module(program)) {
        *programs_of_module.entry(module).or_default() += 1;
    }
    let label = |(program, name): (&Vec<Build>, &Option<RenamedFile>)| {
        let mut paths = program.iter().flat_map(|build| build.files.keys());
        if name.is_some() || paths.all(|path| programs_of_path[path.as_str()].len() == 1) {
            return None;
        }
        let (text, by_hash) = match module(program) {
            Some(module) if programs_of_module[&module] == 1 => (module, false),
            Some(module) => (format!("{module} {}", program[0].hash), true),
            None => (program[0].hash.clone(), true),
        };
        Some(Label { text, by_hash })
    };
    programs.iter().zip(names).map(label).collect()
}

/// The files of programs that a hash tells from others which have files of the same path and may contain the same module.
fn told_apart_by_hash(programs: &[Vec<Build>], labels: &[Option<Label>]) -> Vec<String> {
    let modules = |number: usize| &programs[number][0].modules;
    let may_be_one = |a: usize, b: usize| {
        let (a, b) = (modules(a), modules(b));
        a.is_empty() || b.is_empty() || !a.is_disjoint(b)
    };
    let by_hash = |number: usize| labels[number].as_ref().is_some_and(|label| label.by_hash);
    let paths = programs_of_path(programs).into_iter().filter(|(_, numbers)| {
        let mut labelled = numbers.iter().filter(|&&number| by_hash(number));
        labelled.any(|&a| numbers.iter().any(|&b| a != b && may_be_one(a, b)))
    });
    paths.map(|(path, _)| path.to_owned()).collect()
}

/// The names of a build's package and files: as one file's new name tells, or followed by a label.
fn names_of(build: &Build, name: Option<&RenamedFile>, label: Option<&Label>) -> Option<BinaryNames> {
    let package = build.package;
    if let Some(RenamedFile { from, to }) = name {
        // All of a command's files are in one folder.
        let [from, to] = [from, to].map(|name| name.rsplit_once('/').map(|(folder, _)| folder));
        let (from, to) = (from?, to?);
        let files = build.files.keys().filter_map(|path| {
            let base = path.strip_prefix(from)?;
            Some((path.clone(), format!("{to}{base}")))
        });
        return Some(BinaryNames { package, path: to.to_owned(), files: files.collect() });
    }
    let Label { text: label, .. } = label?;
    let files = build.files.keys().map(|path| (path.clone(), format!("{path} ({label})")));
    Some(BinaryNames { package, path: format!("{FROM_FILES} ({label})"), files: files.collect() })
}

#[cfg(test)]
mod tests {
    use covdata::{FileName, Granularity, PackageBuilder, Unit, meta_file};

    use super::*;
    use crate::Builder;

    const PATH: &str = "/workspace/main.go";

    fn unit(start_line: u32, end_line: u32) -> Unit {
        Unit { start_line, start_column: 13, end_line, end_column: 2, statements: 1 }
    }

    /// The meta-data of a program that was built from one file with these blocks, and that contains a package.
    fn program(module: &str, units: &[Unit]) -> (String, Vec<u8>) {
        program_with(unit(3, 5), module, units)
    }

    /// As [`program`], with this block in the package.
    fn program_with(of_package: Unit, module: &str, units: &[Unit]) -> (String, Vec<u8>) {
        let package = format!("{module}/x");
        let file = format!("{package}/x.go");
        let mut x = PackageBuilder::new("x", &package, module);
        x.add("X", &file, false, [of_package].into_iter());
        let mut main = PackageBuilder::new("main", FROM_FILES, "");
        main.add("main", PATH, false, units.iter().copied());
        let blobs = [x.finish().unwrap(), main.finish().unwrap()];
        let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        let (hash, bytes) = meta_file(&blobs, Mode::Set, Granularity::PerBlock);
        (FileName::Meta { hash }.to_string(), bytes)
    }

    /// The names of the main packages' files after [`Data::identify`], sorted, and the names that nobody gets.
    fn names(
        programs: &[(String, Vec<u8>)],
        text: Option<&str>,
        import_name: Option<&str>,
        fits: &[Unit],
    ) -> (Vec<String>, Vec<String>) {
        let mut builder = Builder::new();
        for (name, bytes) in programs {
            builder.add_file(name, bytes);
        }
        if let Some(text) = text {
            builder.add_text_bytes("unit.out", text);
        }
        let files = builder.load();
        let (mut data, _) = files.read();
        let undecided = data.identify(
            |path| import_name.filter(|_| path == PATH).map(str::to_owned),
            |_, blocks| blocks.iter().map(|block| block.unit).eq(fits.iter().copied()),
        );
        let names: BTreeSet<&str> = data.file_names().filter(|name| !name.ends_with("/x.go")).collect();
        (
            names.into_iter().map(str::to_owned).collect(),
            undecided.names.into_iter().map(|file| file.to).collect(),
        )
    }

    /// Each of several inputs gets the names that all of them together have: the second knows no module of the program, and a
    /// text profile no program.
    #[test]
    fn a_file_has_one_name_in_all_inputs() {
        let (name, bytes) = program("example.com/a", &[unit(5, 7)]);
        let mut builder = Builder::new();
        builder.add_file(&name, &bytes);
        builder.next_input();
        builder.add_text_bytes("unit.out", format!("mode: set\n{PATH}:5.13,7.2 1 1\n"));
        builder.next_input();
        builder.add_text_bytes("other.out", "mode: set\nexample.com/b/b.go:1.1,2.2 1 1\n");
        let files = builder.load();
        let (mut asked, mut names) = (0, Vec::<BTreeSet<String>>::new());
        let identify = |data: &mut Data<'_>| {
            asked += 1;
            assert_eq!(data.path_names(), [PATH]);
            let undecided = data.identify(|path| (path == PATH).then(|| NAME.to_owned()), |_, _| false);
            assert_eq!(undecided, Undecided::default());
            assert_eq!(data.renamed(), [RenamedFile { from: PATH.to_owned(), to: NAME.to_owned() }]);
        };
        files.read_each(identify, |data| names.push(data.file_names().map(str::to_owned).collect()));
        let set = |names: &[&str]| names.iter().copied().map(str::to_owned).collect();
        let expected = [set(&[NAME, "example.com/a/x/x.go"]), set(&[NAME]), set(&["example.com/b/b.go"])];
        assert_eq!((asked, names), (1, expected.to_vec()));
    }

    fn hash_of(program: &(String, Vec<u8>)) -> &str {
        &program.0["covmeta.".len()..][..8]
    }

    const NAME: &str = "example.com/a/main.go";

    #[test]
    fn the_program_that_fits_the_source_gets_the_name() {
        let (a, b) = (program("example.com/a", &[unit(5, 7)]), program("example.com/b", &[unit(5, 9)]));
        let other = format!("{PATH} (example.com/b)");
        let expected = (vec![other.clone(), NAME.to_owned()], vec![]);
        assert_eq!(names(&[a.clone(), b.clone()], None, Some(NAME), &[unit(5, 7)]), expected);
        assert_eq!(names(&[b.clone(), a.clone()], None, Some(NAME), &[unit(5, 7)]), expected);
        // A test's profile tells it too, whatever the source is by now.
        let text = "mode: set\nexample.com/a/main.go:5.13,7.2 1 1\n";
        assert_eq!(names(&[a.clone(), b.clone()], Some(text), Some(NAME), &[unit(5, 9)]), expected);
        // Without a name for the path, the module has the file.
        assert_eq!(names(&[a.clone(), b.clone()], Some(text), None, &[]), expected);
        // So does another program, in which it is the file of a package.
        let mut main = PackageBuilder::new("main", "example.com/a", "example.com/a");
        main.add("main", NAME, false, [unit(5, 7)].into_iter());
        let by_package = program_of(&[main.finish().unwrap()], &[]);
        assert_eq!(names(&[a, b, by_package], None, None, &[]), expected);
    }

    #[test]
    fn of_the_files_of_all_modules_some_are_compared() {
        let found = |at: usize| {
            let modules: Vec<String> = (0..60).map(|n| format!("m{n:02}")).collect();
            let mut packages = Vec::new();
            for (n, module) in modules.iter().enumerate() {
                let mut package = PackageBuilder::new("m", module, module);
                let names = ["a.go", "b.go"].map(|base| format!("{module}/{base}"));
                package.add("A", &names[0], false, [unit(1, 2)].into_iter());
                let of_b = if n == at { unit(7, 9) } else { unit(1, 2) };
                package.add("B", &names[1], false, [of_b].into_iter());
                packages.push(package.finish().unwrap());
            }
            let program = program_of(&packages, &[("/w/a.go", &[unit(5, 7)]), ("/w/b.go", &[unit(7, 9)])]);
            let mut builder = Builder::new();
            builder.add_file(&program.0, &program.1);
            let files = builder.load();
            let mut data = files.read().0;
            assert_eq!(data.identify(|_| None, |_, _| false), Undecided::default());
            data.renamed().iter().map(|renamed| renamed.to.clone()).collect::<Vec<_>>()
        };
        // 60 of a.go, and then of b.go those before this one.
        assert_eq!(found(39), ["m39/a.go", "m39/b.go"]);
        assert_eq!(found(40), [""; 0]);
    }

    #[test]
    fn a_text_profile_has_the_names_of_the_program_with_its_blocks() {
        let (a, b) = (program("example.com/a", &[unit(5, 7)]), program("example.com/b", &[unit(5, 9)]));
        let unit_test = "mode: set\nexample.com/a/main.go:5.13,7.2 1 1\n";
        let of_b = format!("{PATH} (example.com/b)");
        let text = |end: u32| format!("{unit_test}{PATH}:5.13,{end}.2 1 1\n");
        assert_eq!(names(std::slice::from_ref(&a), Some(&text(7)), None, &[]).0, [NAME]);
        assert_eq!(names(&[a.clone(), b.clone()], Some(&text(7)), None, &[]).0, [&of_b, NAME]);
        assert_eq!(names(&[a.clone(), b.clone()], Some(&text(9)), None, &[]).0, [&of_b, NAME]);
        // Another source, which is neither's.
        assert_eq!(names(&[a, b], Some(&text(8)), None, &[]).0, [PATH, &of_b, NAME]);
        // Both have these blocks, and only their hashes tell them apart.
        let twins = [1, 2].map(|line| program_with(unit(line, line + 1), "example.com/a", &[unit(5, 7)]));
        let [one, other] = ["a", "b"].map(|name| program(&format!("example.com/{name}"), &[unit(5, 7)]));
        assert_eq!(names(&twins, Some(&text(7)), None, &[]).0, [NAME]);
        let text = format!("mode: set\n{PATH}:5.13,7.2 1 1\n");
        let apart = ["a", "b"].map(|name| format!("{PATH} (example.com/{name})"));
        assert_eq!(names(&[one, other], Some(&text), None, &[]).0, [PATH, &apart[0], &apart[1]]);
    }

    #[test]
    fn a_name_that_nothing_decides_is_reported_and_given_to_nobody() {
        let (a, b) = (program("example.com/a", &[unit(5, 7)]), program("example.com/b", &[unit(5, 9)]));
        let apart = ["a", "b"].map(|module| format!("{PATH} (example.com/{module})")).to_vec();
        let undecided = vec![NAME.to_owned()];
        assert_eq!(names(&[a.clone(), b], None, Some(NAME), &[unit(1, 2)]), (apart, undecided));
        // One program alone has the name, though the source has changed.
        assert_eq!(names(&[a], None, Some(NAME), &[unit(1, 2)]), (vec![NAME.to_owned()], vec![]));
    }

    #[test]
    fn two_programs_of_one_module_stay_apart() {
        let (a, b) = (program("example.com/a", &[unit(5, 7)]), program("example.com/a", &[unit(5, 9)]));
        let mut apart =
            [&a, &b].map(|program| format!("{PATH} (example.com/a {})", hash_of(program))).to_vec();
        apart.sort();
        assert_eq!(names(&[a.clone(), b], None, None, &[]), (apart, vec![]));
        // Two builds of one program that differ in another package are one.
        let later = program_with(unit(4, 6), "example.com/a", &[unit(5, 7)]);
        assert_ne!(hash_of(&later), hash_of(&a));
        assert_eq!(names(&[a, later], None, None, &[]), (vec![PATH.to_owned()], vec![]));
        // So are two whose releases of Go number the statements of an empty block differently.
        let empty =
            |statements| Unit { end_line: 7, start_line: 7, start_column: 2, end_column: 2, statements };
        let of = |statements| program("example.com/a", &[unit(5, 7), empty(statements)]);
        assert_eq!(names(&[of(0), of(1)], None, None, &[]), (vec![PATH.to_owned()], vec![]));
        // An empty block where another one begins does not overlap it.
        let empty = Unit { end_line: 5, end_column: 13, statements: 0, ..unit(5, 7) };
        let of = |line| program_with(unit(line, line + 1), "example.com/a", &[empty, unit(5, 7)]);
        assert_eq!(names(&[of(1), of(2)], None, None, &[]), (vec![PATH.to_owned()], vec![]));
    }

    /// A package without functions of each of these modules.
    fn modules(modules: &[String]) -> Vec<Vec<u8>> {
        modules.iter().map(|module| PackageBuilder::new("m", module, module).finish().unwrap()).collect()
    }

    /// The meta-data of a program with these packages, which was built from files: their paths, each with its blocks.
    fn program_of(packages: &[Vec<u8>], files: &[(&str, &[Unit])]) -> (String, Vec<u8>) {
        let mut main = PackageBuilder::new("main", FROM_FILES, "");
        for (path, units) in files {
            main.add("main", path, false, units.iter().copied());
        }
        let main = main.finish().unwrap();
        let blobs: Vec<&[u8]> = packages.iter().chain([&main]).map(Vec::as_slice).collect();
        let (hash, bytes) = meta_file(&blobs, Mode::Set, Granularity::PerBlock);
        (FileName::Meta { hash }.to_string(), bytes)
    }

    #[test]
    fn a_path_without_end_and_many_modules_take_little_time() {
        let [many, path] =
            [(0..2_000).map(|n| format!("m{n}")).collect::<Vec<_>>(), vec!["/".repeat(200_000)]];
        let hostile = program_of(&modules(&many), &[(&path[0], &[unit(5, 7)])]);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = sender.send(names(&[hostile], None, None, &[]));
        });
        let names = receiver.recv_timeout(std::time::Duration::from_secs(20)).expect("it ends soon");
        assert_eq!(names.0, path);
    }

    #[test]
    fn a_build_whose_modules_are_unknown_joins_the_only_program_that_it_may_be() {
        let of = |modules_of: &[&str], variant: u32| {
            let modules_of: Vec<String> = modules_of.iter().map(|&module| module.to_owned()).collect();
            let mut packages = modules(&modules_of);
            // It makes the hash another one.
            let mut extra = PackageBuilder::new("x", "x", "");
            extra.add("X", "x/x.go", false, [unit(variant, variant + 1)].into_iter());
            packages.push(extra.finish().unwrap());
            program_of(&packages, &[(PATH, &[unit(5, 7)])])
        };
        let (a, b) = (of(&["example.com/a"], 1), of(&["example.com/b"], 1));
        let mut places = BTreeSet::new();
        for variant in 1..40 {
            let unknown = of(&[], variant);
            let mut sorted = [&a, &b, &unknown];
            sorted.sort_by_key(|program| &program.0);
            places.insert(sorted.iter().position(|program| program.0 == unknown.0));
            // It may be either of two.
            let mut apart = vec![
                format!("{PATH} (example.com/a)"),
                format!("{PATH} (example.com/b)"),
                format!("{PATH} ({})", hash_of(&unknown)),
            ];
            apart.sort();
            let programs = [a.clone(), b.clone(), unknown.clone()];
            assert_eq!(names(&programs, None, None, &[]), (apart, vec![]), "{variant}");
            let one = vec![PATH.to_owned()];
            assert_eq!(names(&[a.clone(), unknown], None, None, &[]), (one, vec![]), "{variant}");
        }
        assert_eq!(places.len(), 3, "its hash came first, between those of the others, and last");
    }

    #[test]
    fn programs_that_only_a_hash_tells_apart_are_reported() {
        let by_hash = |programs: &[&(String, Vec<u8>)]| {
            let mut builder = Builder::new();
            for (name, bytes) in programs {
                builder.add_file(name, bytes);
            }
            let files = builder.load();
            files.read().0.identify(|_| None, |_, _| false).by_hash
        };
        let a = program("example.com/a", &[unit(5, 7)]);
        let [changed, b] = ["a", "b"].map(|name| program(&format!("example.com/{name}"), &[unit(5, 9)]));
        let none: &[Vec<u8>] = &[];
        let unknown = program_of(none, &[(PATH, &[unit(5, 11)])]);
        let several = ["a", "b"].map(|name| format!("example.com/{name}"));
        let of_two_modules = program_of(&modules(&several), &[(PATH, &[unit(5, 13)])]);
        let elsewhere = program_of(none, &[("/elsewhere/main.go", &[unit(5, 11)])]);
        assert_eq!(by_hash(&[&a, &changed]), [PATH]);
        assert_eq!(by_hash(&[&a, &unknown]), [PATH]);
        assert_eq!(by_hash(&[&b, &of_two_modules]), [PATH]);
        assert_eq!(by_hash(&[&a, &b, &elsewhere]), [""; 0]);
        // The other one of its module is not at this path, and the one at this path cannot be of its module.
        let of_a = modules(&["example.com/a".to_owned()]);
        let of_a_elsewhere = program_of(&of_a, &[("/elsewhere/main.go", &[unit(5, 11)])]);
        assert_eq!(by_hash(&[&a, &b, &of_a_elsewhere]), [""; 0]);
    }
}
