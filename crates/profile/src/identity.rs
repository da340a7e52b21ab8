//! Gives each source file one name.
//!
//! The `go` command names a source file by its package. But a program that was built from files (`go build main.go`) has
//! a package `command-line-arguments` in the data, with the paths that these files had on the machine that built it. So
//! one file may have two names, and two programs' files may have the same name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use covdata::Mode;

use crate::binary::{BinaryCounts, BinaryNames};
use crate::counts::merge_blocks;
use crate::data::{Data, RenamedFile};
use crate::index::{BlockFacts, Partition};
use crate::profile::Block;
use crate::texts::TextFileCounts;

/// The package of a program that was built from files.
const FROM_FILES: &str = "command-line-arguments";

impl Data<'_> {
    /// The names of files that are paths on the machine which built the program, each once.
    #[must_use]
    pub fn path_names(&self) -> Vec<String> {
        let builds =
            self.binaries.iter().enumerate().filter_map(|(number, counted)| Build::of(number, counted));
        let binaries = builds.flat_map(|build| build.files.into_keys());
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
    /// at. Gives the new names that no program gets, because that does not tell them apart.
    #[must_use]
    pub fn identify(
        &mut self,
        import_name: impl Fn(&str) -> Option<String>,
        fits: impl Fn(&str, &[Block]) -> bool,
    ) -> Vec<RenamedFile> {
        let programs = self.programs();
        let (names, undecided) = self.names_of_programs(&programs, &import_name, fits);
        let labels = labels_of_programs(&programs, &names);
        let mut renamed = BTreeSet::new();
        for ((program, name), label) in programs.into_iter().zip(names).zip(labels) {
            for build in program {
                let Some(names) = build.names(name.as_ref(), label.as_deref()) else { continue };
                renamed.extend(names.files.iter().map(|(from, to)| (from.clone(), to.clone())));
                self.binaries[build.binary].names = Some(names);
            }
        }
        if let Some(text) = &mut self.text {
            let paths: Vec<String> = text.files.keys().filter(|name| is_path(name)).cloned().collect();
            for from in paths {
                let Some(to) = import_name(&from) else { continue };
                if let Some(file) = text.files.remove(&from) {
                    text.add_file(to.clone(), file);
                    renamed.insert((from, to));
                }
            }
        }
        self.renamed = renamed.into_iter().map(|(from, to)| RenamedFile { from, to }).collect();
        undecided
    }

    /// The files that [`identify`](Self::identify) has renamed.
    #[must_use]
    pub fn renamed(&self) -> &[RenamedFile] {
        &self.renamed
    }

    /// The programs that were built from files: the builds of each.
    fn programs(&self) -> Vec<Vec<Build>> {
        let mut programs = Vec::<Vec<Build>>::new();
        for (number, counted) in self.binaries.iter().enumerate() {
            let Some(build) = Build::of(number, counted) else { continue };
            match programs.iter_mut().find(|program| program[0].is_of_program(&build)) {
                Some(program) => program.push(build),
                None => programs.push(vec![build]),
            }
        }
        programs
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
        let mut all_blocks = HashMap::<String, Vec<Block>>::new();
        let mut agrees = |name: &str, blocks: &[Block]| {
            let all = all_blocks.entry(name.to_owned()).or_insert_with(|| self.blocks_of(name));
            agree(blocks, all)
        };
        let mut names = Vec::new();
        let mut programs_of_name = BTreeMap::<String, Vec<usize>>::new();
        for (number, program) in programs.iter().enumerate() {
            let build = &program[0];
            let name = build.files.iter().find_map(|(path, blocks)| {
                let by_module = || {
                    let suffixes = path.match_indices('/').map(|(slash, _)| &path[slash..]);
                    let mut names = suffixes.flat_map(|suffix| {
                        build.modules.iter().map(move |module| format!("{module}{suffix}"))
                    });
                    names.find(|name| known.contains(name.as_str()) && agrees(name, blocks))
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

    /// All blocks of a file in the data.
    fn blocks_of(&self, name: &str) -> Vec<Block> {
        let mut blocks: Vec<Block> = self.binaries.iter().flat_map(|counted| units(counted, name)).collect();
        blocks.extend(
            self.text
                .iter()
                .filter_map(|text| text.files.get(name))
                .flat_map(|file: &TextFileCounts| &file.blocks),
        );
        merge_blocks(&mut blocks, Mode::Count);
        blocks
    }
}

/// For each program without a name that another program has files of the same path, a label that tells it from these: its
/// module if that is known, and the binary's hash if that is not enough.
fn labels_of_programs(programs: &[Vec<Build>], names: &[Option<RenamedFile>]) -> Vec<Option<String>> {
    let mut programs_of_path = HashMap::<&str, usize>::new();
    for program in programs {
        let paths: BTreeSet<&str> =
            program.iter().flat_map(|build| build.files.keys()).map(String::as_str).collect();
        paths.into_iter().for_each(|path| *programs_of_path.entry(path).or_default() += 1);
    }
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
        if name.is_some() || paths.all(|path| programs_of_path[path.as_str()] == 1) {
            return None;
        }
        Some(match module(program) {
            Some(module) if programs_of_module[&module] == 1 => module,
            Some(module) => format!("{module} {}", program[0].hash),
            None => program[0].hash.clone(),
        })
    };
    programs.iter().zip(names).map(label).collect()
}

/// A binary that was built from files.
struct Build {
    binary: usize,
    /// The first digits of its hash.
    hash: String,
    /// The index of the package of these files.
    package: usize,
    /// The modules that it contains, as far as its data tell.
    modules: BTreeSet<String>,
    /// The blocks of its files, by path.
    files: BTreeMap<String, Vec<Block>>,
}

impl Build {
    fn of(binary: usize, counted: &BinaryCounts<'_>) -> Option<Self> {
        let packages = &counted.binary.file.packages;
        let index = packages.iter().position(|package| package.path == FROM_FILES)?;
        let package = &packages[index];
        let modules = packages.iter().map(|package| package.module).filter(|module| !module.is_empty());
        let mut files = BTreeMap::<String, Vec<Block>>::new();
        for function in package.functions() {
            let name = package.string(function.file);
            if is_path(name) {
                let blocks = function.units().map(|unit| Block { unit, count: 0, function: None });
                files.entry(name.to_owned()).or_default().extend(blocks);
            }
        }
        files.values_mut().for_each(|blocks| merge_blocks(blocks, Mode::Count));
        Some(Self {
            binary,
            hash: counted.binary.file.hash.to_string()[..8].to_owned(),
            package: index,
            modules: modules.map(str::to_owned).collect(),
            files,
        })
    }

    /// Whether another binary is a build of the same program.
    fn is_of_program(&self, other: &Self) -> bool {
        let common = || self.files.iter().filter_map(|(path, blocks)| Some((blocks, other.files.get(path)?)));
        // One of them may have been built without coverage of its packages.
        common().next().is_some()
            && (self.modules.is_subset(&other.modules) || other.modules.is_subset(&self.modules))
            && common().all(|(a, b)| agree(a, b))
    }

    /// The names of its package and files: as one file's new name tells, or followed by a label.
    fn names(&self, name: Option<&RenamedFile>, label: Option<&str>) -> Option<BinaryNames> {
        let package = self.package;
        if let Some(RenamedFile { from, to }) = name {
            // All of a command's files are in one folder.
            let [from, to] = [from, to].map(|name| name.rsplit_once('/').map(|(folder, _)| folder));
            let (from, to) = (from?, to?);
            let files = self.files.keys().filter_map(|path| {
                let base = path.strip_prefix(from)?;
                Some((path.clone(), format!("{to}{base}")))
            });
            return Some(BinaryNames { package, path: to.to_owned(), files: files.collect() });
        }
        let label = label?;
        let files = self.files.keys().map(|path| (path.clone(), format!("{path} ({label})")));
        Some(BinaryNames { package, path: format!("{FROM_FILES} ({label})"), files: files.collect() })
    }
}

/// Whether a file's name is a path. Windows' have a drive.
fn is_path(name: &str) -> bool {
    name.starts_with('/') || name.as_bytes().get(1..3).is_some_and(|start| matches!(start, b":/" | b":\\"))
}

/// A binary's blocks of a file.
fn units(counted: &BinaryCounts<'_>, name: &str) -> Vec<Block> {
    let packages = counted.binary.file.packages.iter();
    let functions = packages.flat_map(|package| package.functions().map(move |function| (package, function)));
    let functions = functions.filter(|(package, function)| package.string(function.file) == name);
    let blocks = functions.flat_map(|(_, function)| function.units());
    blocks.map(|unit| Block { unit, count: 0, function: None }).collect()
}

/// Whether two lists of blocks come from the same source, built by the same or by different releases of Go.
fn agree(a: &[Block], b: &[Block]) -> bool {
    let mut both = [a, b].concat();
    merge_blocks(&mut both, Mode::Count);
    let facts = BlockFacts::of(&both);
    let blocks = if facts.overlap || facts.same_place {
        Partition::of(both.iter().map(|block| block.unit)).map(|partition| partition.units().len())
    } else {
        Some(both.len())
    };
    // Each build has all blocks of the source.
    blocks == Some(a.len().max(b.len()))
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
        (names.into_iter().map(str::to_owned).collect(), undecided.into_iter().map(|file| file.to).collect())
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
        assert_eq!(names(&[a, b], Some(text), None, &[]), expected);
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
    }
}
