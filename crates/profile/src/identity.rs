//! Gives each source file one name.
//!
//! The `go` command names a source file by its package. But a program that was built from files (`go build main.go`) has
//! a package `command-line-arguments` in the data, with the paths that these files had on the machine that built it. So
//! one file may have two names, and two programs' files may have the same name.

use std::collections::{BTreeSet, HashMap};

use covdata::Mode;

use crate::binary::{BinaryCounts, BinaryNames};
use crate::counts::{join, merge_blocks};
use crate::data::{Data, RenamedFile};
use crate::index::BlockFacts;
use crate::profile::Block;
use crate::texts::TextFileCounts;

/// The package of a program that was built from files.
const FROM_FILES: &str = "command-line-arguments";

impl Data<'_> {
    /// The names of files that are paths on the machine which built the program, each once.
    #[must_use]
    pub fn path_names(&self) -> Vec<String> {
        let binaries = self.binaries.iter().filter_map(built_from).flat_map(|(_, paths)| paths);
        let texts = self.text.iter().flat_map(|text| text.files.keys()).filter(|name| is_path(name)).cloned();
        binaries.chain(texts).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Renames files that are named by a path: their new name begins with the import path of their package.
    ///
    /// `import_name` gives the name for a path, if the caller knows it. Otherwise the new name is that of another file in
    /// the data which has the same blocks, belongs to a module that the program contains, and ends as the path does. If
    /// two programs have files of one path, these get different names.
    pub fn identify(&mut self, import_name: impl Fn(&str) -> Option<String>) {
        let mut renamed = BTreeSet::new();
        for number in 0..self.binaries.len() {
            if let Some(names) = self.names_by_package(number, &import_name) {
                self.binaries[number].names = Some(names);
            }
        }
        self.keep_programs_apart();
        for names in self.binaries.iter().filter_map(|counted| counted.names.as_ref()) {
            renamed.extend(names.files.iter().map(|(from, to)| (from.clone(), to.clone())));
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
    }

    /// The files that [`identify`](Self::identify) has renamed.
    #[must_use]
    pub fn renamed(&self) -> &[RenamedFile] {
        &self.renamed
    }

    /// The new names of the files that a program was built from; `None` where no name is found.
    fn names_by_package(
        &self,
        number: usize,
        import_name: &impl Fn(&str) -> Option<String>,
    ) -> Option<BinaryNames> {
        let counted = &self.binaries[number];
        let (package, paths) = built_from(counted)?;
        let known: BTreeSet<&str> = self.file_names().filter(|name| !is_path(name)).collect();
        let modules = modules(counted);
        let by_module = |path: &str| {
            let suffixes = path.match_indices('/').map(|(slash, _)| &path[slash..]);
            let mut names =
                suffixes.flat_map(|suffix| modules.iter().map(move |module| format!("{module}{suffix}")));
            names.find(|name| {
                known.contains(name.as_str()) && agree(&units(counted, path), &self.blocks_of(name))
            })
        };
        let folder_of = |name: &str| name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        // All of a command's files are in one folder.
        let name = paths.iter().find_map(|path| {
            let name = import_name(path).or_else(|| by_module(path))?;
            Some((folder_of(path)?, folder_of(&name)?))
        });
        let (from, to) = name?;
        let files = paths.iter().filter_map(|path| {
            let base = path.strip_prefix(&from)?;
            Some((path.clone(), format!("{to}{base}")))
        });
        Some(BinaryNames { package, path: to.clone(), files: files.collect() })
    }

    /// Gives files of one path in different programs different names.
    fn keep_programs_apart(&mut self) {
        let mut programs: Vec<Vec<usize>> = Vec::new();
        for (number, counted) in self.binaries.iter().enumerate() {
            if counted.names.is_some() || built_from(counted).is_none() {
                continue;
            }
            let known =
                programs.iter_mut().find(|program| is_one_program(&self.binaries[program[0]], counted));
            match known {
                Some(program) => program.push(number),
                None => programs.push(vec![number]),
            }
        }
        let paths_of = |program: &Vec<usize>| {
            let binaries = program.iter().filter_map(|&number| built_from(&self.binaries[number]));
            binaries.flat_map(|(_, paths)| paths).collect::<BTreeSet<_>>()
        };
        let mut seen = HashMap::<String, usize>::new();
        for program in &programs {
            paths_of(program).into_iter().for_each(|path| *seen.entry(path).or_default() += 1);
        }
        for program in programs {
            let mut name = None;
            for number in program {
                let counted = &self.binaries[number];
                let Some((package, paths)) = built_from(counted) else { continue };
                if paths.iter().all(|path| seen[path] == 1) {
                    continue;
                }
                // The program is named by its module if it has only one, otherwise by the binary's hash.
                let name =
                    name.get_or_insert_with(|| match modules(counted).into_iter().collect::<Vec<_>>()[..] {
                        [module] => module.to_owned(),
                        _ => counted.binary.file.hash.to_string()[..8].to_owned(),
                    });
                let files = paths.into_iter().map(|path| (path.clone(), format!("{path} ({name})")));
                let names =
                    BinaryNames { package, path: format!("{FROM_FILES} ({name})"), files: files.collect() };
                self.binaries[number].names = Some(names);
            }
        }
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

/// Whether a file's name is a path. Windows' have a drive.
fn is_path(name: &str) -> bool {
    name.starts_with('/') || name.as_bytes().get(1..3).is_some_and(|start| matches!(start, b":/" | b":\\"))
}

/// The package of a program that was built from files, and their paths.
fn built_from(counted: &BinaryCounts<'_>) -> Option<(usize, BTreeSet<String>)> {
    let packages = &counted.binary.file.packages;
    let index = packages.iter().position(|package| package.path == FROM_FILES)?;
    let files = packages[index].functions().map(|function| packages[index].string(function.file));
    Some((index, files.filter(|name| is_path(name)).map(str::to_owned).collect()))
}

/// The modules that a program contains, as far as its data tell.
fn modules<'c>(counted: &'c BinaryCounts<'_>) -> BTreeSet<&'c str> {
    let modules = counted.binary.file.packages.iter().map(|package| package.module);
    modules.filter(|module| !module.is_empty()).collect()
}

/// A program's blocks of a file, in order.
fn units(counted: &BinaryCounts<'_>, name: &str) -> Vec<Block> {
    let packages = counted.binary.file.packages.iter();
    let functions = packages.flat_map(|package| package.functions().map(move |function| (package, function)));
    let functions = functions.filter(|(package, function)| package.string(function.file) == name);
    let mut blocks: Vec<Block> = functions
        .flat_map(|(_, function)| {
            function.units().map(|unit| Block { unit, count: 0, function: None }).collect::<Vec<_>>()
        })
        .collect();
    merge_blocks(&mut blocks, Mode::Count);
    blocks
}

/// Whether two lists of blocks come from the same source, built by the same or by different releases of Go.
fn agree(a: &[Block], b: &[Block]) -> bool {
    let mut both = [a, b].concat();
    merge_blocks(&mut both, Mode::Count);
    let overlap = BlockFacts::of(&both).overlap;
    let joined = if overlap { join(&both, &mut [], Mode::Count) } else { Some(both) };
    // Each build has all blocks of the source.
    joined.is_some_and(|joined| joined.len() == a.len().max(b.len()))
}

/// Whether two binaries that were built from files are builds of the same program.
fn is_one_program(a: &BinaryCounts<'_>, b: &BinaryCounts<'_>) -> bool {
    let (own, other) = (modules(a), modules(b));
    if own == other && !own.is_empty() {
        return true;
    }
    let paths = |counted| built_from(counted).map(|(_, paths)| paths).unwrap_or_default();
    let mut common = paths(a);
    common.retain(|path| paths(b).contains(path));
    // One of them may have been built without coverage of its packages.
    !common.is_empty()
        && (own.is_subset(&other) || other.is_subset(&own))
        && common.iter().all(|path| agree(&units(a, path), &units(b, path)))
}
