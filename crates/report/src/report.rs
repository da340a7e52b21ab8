//! A profile with its source files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{MAIN_SEPARATOR, Path};

use covdata::Unit;
use podcov_profile::{
    Block, Coverage, FileProfile, Finding, FunctionBlocks, PackageProfile, Profile, ProfileFunction,
    RenamedFile, SuiteCoverage, parallel,
};

use crate::glob::Globs;
use crate::golang::{self, Statement, within};
use crate::ignore::{IgnoreComment, IgnoreComments, Ignored};
use crate::sources::{Found, Sources, read_text};
use crate::suites::Suite;

/// A profile, and where the source of each of its files is.
#[derive(Debug, Clone, Default)]
pub struct Report<'a> {
    profile: Profile<'a>,
    /// For each file of the profile, in its order.
    found: Vec<Found>,
    /// For each file, the end of a block that is in no function of its source, if there is one.
    strays: Vec<Option<(u32, u32)>>,
    /// For each file what its comments ignore, if that is left out; `None` where it is not known.
    ignored: Vec<Option<Ignored>>,
    /// Whether ignored statements are left out.
    skips_ignored: bool,
    /// The files for which it is not known whether they are generated.
    undetermined: Vec<String>,
    /// The files that have another name in the data.
    renamed: Vec<RenamedFile>,
    /// The suites whose counts the profile has.
    suites: Vec<Suite>,
}

/// The files that are left out of a report.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Files whose name in the profile, or path in reports, matches any of these.
    pub exclude: Globs,
    /// Files that are marked as generated.
    pub generated: bool,
    /// Statements that a comment ignores. These alone are part of a file.
    pub ignored: bool,
}

/// A file of a [`Report`].
#[derive(Debug, Clone, Copy)]
pub struct ReportFile<'r> {
    /// Its package.
    pub package: &'r PackageProfile<'r>,
    /// Its blocks.
    pub profile: &'r FileProfile<'r>,
    /// Its name in reports: its path from the root, with slashes; the profile's name if it is not below the root, or was
    /// not found.
    pub shown: &'r str,
    /// Where it is, if it was found.
    pub path: Option<&'r Path>,
    /// Whether its name leads to a file that must not be read: see [`Found::refused`].
    refused: bool,
    /// The end of a block that is in no function of the source.
    stray: Option<(u32, u32)>,
}

/// Why there is no source of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSource {
    /// It was not found.
    #[error("the source was not found")]
    NotFound,
    /// Its name leads to a file outside of the folders of sources, which is not read.
    #[error("the name leads out of the folders of sources")]
    Refused,
    /// It cannot be read, or is not text.
    #[error("the source is not shown: {0}")]
    Unreadable(String),
    /// The profile has a position that the file does not have, so the file is of another version.
    #[error("the source is of another version: the profile has a block that ends at {line}.{column}")]
    OtherVersion {
        /// The position's line.
        line: u32,
        /// The position's column.
        column: u32,
    },
}

/// A function of a file.
#[derive(Debug, Clone, Copy)]
pub struct FileFunction<'r> {
    /// Its name; `?` where it is not known.
    pub name: &'r str,
    /// Whether it is a function literal outside of any function, which has a made-up name.
    pub literal: bool,
    /// The line that it begins in, or that its first block begins in.
    pub first_line: u32,
    /// Where its last block ends.
    pub last_line: u32,
    /// How often it ran: its first block's count.
    pub count: u32,
    /// Its statements.
    pub coverage: Coverage,
    /// How many of the file's blocks are its own; they come one after the other, in the order of the functions.
    pub blocks: usize,
}

impl NoSource {
    /// The message for all files with this reason: what happened, and what to do.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound => {
                "the source was not found; run this in the module's folder, or use --map FROM=TO"
            }
            Self::Refused => {
                "reports show Go files below --root, in modules' folders, the module cache and GOROOT alone; if the \
                 source is elsewhere, use --map FROM=TO"
            }
            Self::Unreadable(_) => "the source cannot be read as text",
            Self::OtherVersion { .. } => "the source has changed since the program was built",
        }
    }
}

impl<'a> Report<'a> {
    /// Finds the source of each file, and leaves out files that are not selected. Three things are taken from the source: the
    /// functions of blocks that only text profiles have, the lines that functions begin in, and the numbers of statements
    /// that Go has repeated.
    #[must_use]
    pub fn new(mut profile: Profile<'a>, sources: &Sources, filter: &Filter) -> Self {
        let names: Vec<&str> = profile.files().map(|file| file.name).collect();
        let found = parallel::map(&names, |name| {
            let found = sources.find(name);
            (!filter.leaves_out(name, &found), found)
        });
        // The mark of a generated file is in its source.
        let undetermined = names.iter().zip(&found).filter(|(_, (keep, found))| {
            filter.generated && *keep && found.file.as_ref().is_none_or(|path| read_text(path).is_err())
        });
        let undetermined = undetermined.map(|(_, (_, found))| found.shown.clone()).collect();
        let mut kept = found.iter().map(|(keep, _)| *keep);
        for package in profile.packages_mut() {
            package.files.retain(|_| kept.next().unwrap_or(true));
        }
        // A package is left out if all of its files are. A package without files has no statements, and stays.
        if found.iter().any(|(keep, _)| !keep) {
            profile.packages_mut().retain(|package| !package.files.is_empty());
        }
        let found: Vec<Found> = found.into_iter().filter_map(|(keep, found)| keep.then_some(found)).collect();
        let files: Vec<_> = profile
            .packages()
            .iter()
            .flat_map(|package| package.files.iter().map(move |file| (package, file)))
            .zip(&found)
            .collect();
        let facts = parallel::map(&files, |&((package, file), found)| {
            SourceFacts::of(package, file, found, filter.ignored)
        });
        let (mut facts, mut strays, mut ignored) = (facts.into_iter(), Vec::new(), Vec::new());
        for package in profile.packages_mut() {
            let PackageProfile { files, functions, .. } = package;
            for (file, facts) in files.iter_mut().zip(facts.by_ref()) {
                let (stray, left_out) = facts.apply(file, functions);
                strays.push(stray);
                ignored.push(left_out);
            }
        }
        Self {
            profile,
            found,
            strays,
            ignored,
            skips_ignored: filter.ignored,
            undetermined,
            renamed: Vec::new(),
            suites: Vec::new(),
        }
    }

    /// Names each file that was found by its absolute path, with slashes, for readers that do not know the root.
    #[must_use]
    pub fn with_absolute_paths(mut self) -> Self {
        for Found { file, shown, .. } in &mut self.found {
            if let Some(path) = file {
                *shown = path.display().to_string().replace(MAIN_SEPARATOR, "/");
            }
        }
        self
    }

    /// Sets the files that have another name in the data.
    #[must_use]
    pub fn with_renamed(self, renamed: &[RenamedFile]) -> Self {
        Self { renamed: renamed.to_vec(), ..self }
    }

    /// The files that have another name in the data.
    #[must_use]
    pub fn renamed(&self) -> &[RenamedFile] {
        &self.renamed
    }

    /// Names the suites whose counts the profile has, in its order.
    #[must_use]
    pub fn with_suites(self, suites: Vec<Suite>) -> Self {
        Self { suites, ..self }
    }

    /// The suites, in the order of [`FileProfile::suites`].
    #[must_use]
    pub fn suites(&self) -> &[Suite] {
        &self.suites
    }

    /// The report of one suite, by its number: its counts on the blocks of all.
    #[must_use]
    pub fn of_suite(&self, suite: usize) -> Self {
        Self { profile: self.profile.of_suite(suite), suites: Vec::new(), ..self.clone() }
    }

    /// How many statements each suite ran, over all files.
    #[must_use]
    pub fn suite_coverage(&self) -> SuiteCoverage {
        SuiteCoverage::sum(self.suites.len(), self.profile.files())
    }

    /// The names in reports of files whose source was not found, so that it is not known whether they are generated. They
    /// are not left out.
    #[must_use]
    pub fn undetermined(&self) -> &[String] {
        &self.undetermined
    }

    /// The comments that ignore statements, if these are left out, each with the name in reports of its file.
    pub fn ignore_comments(&self) -> impl Iterator<Item = (&str, &IgnoreComment)> {
        let files = self.found.iter().zip(&self.ignored);
        files.flat_map(|(found, ignored)| {
            let comments = ignored.iter().flat_map(|ignored| &ignored.comments);
            comments.map(|comment| (found.shown.as_str(), comment))
        })
    }

    /// How many statements all comments together leave out.
    #[must_use]
    pub fn ignored_statements(&self) -> usize {
        self.ignored.iter().flatten().map(|ignored| ignored.statements).sum()
    }

    /// The names in reports of Go files whose comments are not known: the source was not found, or does not fit.
    pub fn without_comments(&self) -> impl Iterator<Item = &str> {
        let files = self.files().zip(&self.ignored);
        let unknown = files.filter(|(file, ignored)| ignored.is_none() && file.profile.name.ends_with(".go"));
        unknown.filter(|_| self.skips_ignored).map(|(file, _)| file.shown)
    }

    /// Gives the profile, without the sources.
    #[must_use]
    pub fn into_profile(self) -> Profile<'a> {
        self.profile
    }

    /// The files whose source was not found, or is of another version.
    #[must_use]
    pub fn missing(&self) -> Vec<(ReportFile<'_>, NoSource)> {
        let files: Vec<_> = self.files().collect();
        let errors = parallel::map(&files, |file| file.read().err());
        files.into_iter().zip(errors).filter_map(|(file, error)| Some((file, error?))).collect()
    }

    /// The profile.
    #[must_use]
    pub fn profile(&self) -> &Profile<'a> {
        &self.profile
    }

    /// The files, by package and name.
    pub fn files(&self) -> impl Iterator<Item = ReportFile<'_>> {
        let files = self
            .profile
            .packages()
            .iter()
            .flat_map(|package| package.files.iter().map(move |file| (package, file)));
        files.zip(&self.found).zip(&self.strays).map(|(((package, profile), found), &stray)| ReportFile {
            package,
            profile,
            shown: &found.shown,
            path: found.file.as_deref(),
            refused: found.refused,
            stray,
        })
    }

    /// The coverage over all files.
    #[must_use]
    pub fn total(&self) -> Coverage {
        self.files().map(|file| file.coverage()).sum()
    }
}

impl<'r> ReportFile<'r> {
    /// Its functions, in their order.
    pub fn functions(&self) -> impl Iterator<Item = FileFunction<'r>> {
        self.package.functions_of(self.profile).map(|FunctionBlocks { name, literal, line, blocks }| {
            FileFunction {
                name,
                literal,
                first_line: line,
                last_line: blocks
                    .iter()
                    .fold(blocks[0].unit.start_line, |last, block| last.max(block.unit.end_line)),
                count: blocks[0].count,
                coverage: blocks.iter().collect(),
                blocks: blocks.len(),
            }
        })
    }

    /// The file's coverage.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.profile.blocks.iter().collect()
    }

    /// As [`shown`](Self::shown), for formats whose readers, such as `genhtml`, open the file of that name. If the name leads
    /// to no source, it is changed so that it cannot lead out of the root either.
    #[must_use]
    pub fn location(&self) -> Cow<'r, str> {
        let is_name = |part: &&str| !matches!(*part, "" | "." | "..");
        if self.path.is_some() || self.shown.split('/').all(|part| is_name(&part)) {
            return Cow::Borrowed(self.shown);
        }
        Cow::Owned(self.shown.split('/').filter(is_name).collect::<Vec<_>>().join("/"))
    }

    /// Reads its source.
    ///
    /// # Errors
    ///
    /// [`NoSource`] if there is no source that fits the profile.
    pub fn read(&self) -> Result<String, NoSource> {
        let path = self.path.ok_or(if self.refused { NoSource::Refused } else { NoSource::NotFound })?;
        let source = read_text(path).map_err(NoSource::Unreadable)?;
        match self.stray.or_else(|| misfit(&self.profile.blocks, &source)) {
            Some((line, column)) => Err(NoSource::OtherVersion { line, column }),
            None => Ok(source),
        }
    }
}

/// The end of a block that the source does not have.
fn misfit(blocks: &[Block], source: &str) -> Option<(u32, u32)> {
    let lines: Vec<&str> = source.split('\n').collect();
    let fits = |(line, column): (u32, u32)| {
        let text = lines.get((line as usize).wrapping_sub(1));
        text.is_some_and(|text| column as usize <= text.len() + 1)
    };
    blocks.iter().map(end).find(|&end| !fits(end))
}

fn end(block: &Block) -> (u32, u32) {
    (block.unit.end_line, block.unit.end_column)
}

impl Filter {
    pub(crate) fn leaves_out(&self, name: &str, found: &Found) -> bool {
        let excluded = self.exclude.matches(name) || self.exclude.matches(&found.shown);
        let generated = || {
            let source = found.file.as_ref().and_then(|path| read_text(path).ok());
            source.is_some_and(|source| golang::is_generated(&source))
        };
        excluded || self.generated && generated()
    }
}

/// Corrections of a file's blocks by its source.
#[derive(Default)]
struct SourceFacts {
    /// The functions of blocks without one.
    extents: Option<Vec<golang::FunctionExtent>>,
    /// The lines of functions that have one.
    lines: Vec<(u32, u32)>,
    /// The number of statements of each block, where Go has counted them several times.
    statements: Option<Vec<u32>>,
    /// The comments that ignore statements, if these are left out; `None` where they are not known.
    comments: Option<IgnoreComments>,
}

impl SourceFacts {
    fn of(package: &PackageProfile<'_>, file: &FileProfile<'_>, found: &Found, ignored: bool) -> Self {
        let go = found.file.as_deref().filter(|path| path.extension().is_some_and(|is| is == "go"));
        let source = go.and_then(|path| read_text(path).ok());
        let Some(source) = source.filter(|source| misfit(&file.blocks, source).is_none()) else {
            return Self::default();
        };
        let unnamed = file.blocks.iter().any(|block| block.function.is_none());
        let text: Vec<&str> = source.lines().collect();
        let begins_later = |function: FunctionBlocks<'_, '_>| {
            let line = text.get((function.line as usize).wrapping_sub(1));
            !function.literal && line.is_none_or(|line| !line.starts_with("func "))
        };
        // Parsing is slow.
        let parsed = unnamed || package.functions_of(file).any(begins_later);
        let extents = if parsed { golang::functions(&source) } else { Vec::new() };
        Self {
            lines: function_lines(package, file, &extents),
            extents: unnamed.then_some(extents),
            statements: file.repetition().and_then(|_| statement_counts(&file.blocks, &source)),
            comments: ignored.then(|| IgnoreComments::of(&source)).flatten().filter(|comments| {
                comments.is_empty() || fits(&file.blocks, &source, |statement| comments.ignores(statement))
            }),
        }
    }

    /// Applies the corrections, and leaves out ignored statements. Gives the end of a block that is in no function, if there is one:
    /// then the source is of another version, and its comments are not known.
    fn apply(
        self,
        file: &mut FileProfile<'_>,
        functions: &mut Vec<ProfileFunction<'_>>,
    ) -> (Option<(u32, u32)>, Option<Ignored>) {
        for (function, line) in self.lines {
            functions[function as usize].line = Some(line);
        }
        if let Some(statements) = self.statements {
            for (block, statements) in file.blocks.iter_mut().zip(statements) {
                block.unit.statements = statements;
            }
            file.finding = file.finding.filter(|finding| *finding != Finding::Repeated);
        }
        let named = self.extents.map(|extents| name_functions(&mut file.blocks, functions, &extents));
        match named {
            Some(Err(stray)) => (Some(stray), None),
            _ => (None, self.comments.map(|comments| comments.apply(file))),
        }
    }
}

/// The lines of `func` of a file's functions. Up to Go 1.26 a function's first block begins at the brace, from 1.27 on at
/// the first statement.
fn function_lines(
    package: &PackageProfile<'_>,
    file: &FileProfile<'_>,
    extents: &[golang::FunctionExtent],
) -> Vec<(u32, u32)> {
    let mut lines = BTreeMap::new();
    for function in package.functions_of(file).filter(|function| !function.literal) {
        let Some(number) = function.blocks[0].function else { continue };
        let Unit { start_line, start_column, .. } = function.blocks[0].unit;
        if let Some(extent) = golang::function_at(extents, (start_line, start_column))
            && !extent.literal
        {
            lines.entry(number).or_insert(extent.start.0);
        }
    }
    lines.into_iter().collect()
}

impl Sources {
    /// Whether these are the blocks of the source of a file, as far as that can be told: whether each statement of the source
    /// is in a block, and each block has the number of its statements.
    #[must_use]
    pub fn fits(&self, name: &str, blocks: &[Block]) -> bool {
        self.find(name)
            .file
            .and_then(|path| read_text(&path).ok())
            .is_some_and(|source| fits(blocks, source.as_ref(), |_| false))
    }
}

/// Whether these are the blocks of a source, of which some statements may have been left out.
fn fits(blocks: &[Block], source: &str, may_lack: impl Fn(&Statement) -> bool) -> bool {
    let Some(statements) = golang::statements(source) else { return false };
    let own = || blocks.iter().map(|block| block.unit.statements).collect();
    let numbers = statement_counts(blocks, source).unwrap_or_else(own);
    let right = blocks.iter().map(|block| within(&statements, &block.unit).len());
    let mut lacks = vec![true; statements.len()];
    blocks.iter().for_each(|block| lacks[within(&statements, &block.unit)].fill(false));
    let lacking = || statements.iter().zip(&lacks).filter(|(_, lacks)| **lacks);
    misfit(blocks, source).is_none()
        && lacking().all(|(statement, _)| may_lack(statement))
        && right.clone().sum::<usize>() == statements.len() - lacking().count()
        // Up to Go 1.26 a label or a bare block counts as a statement of the block before it.
        && right.zip(numbers).all(|(right, number)| number as usize == right || number as usize == right + 1)
}

/// The number of statements of each of these blocks by the source, if several blocks have the number of all together: Go
/// 1.27.0 and 1.27.1 give each piece of a block the number of the whole. Asked where
/// [`FileProfile::repetition`] tells that this may be so.
fn statement_counts(blocks: &[Block], source: &str) -> Option<Vec<u32>> {
    let statements = golang::statements(source)?;
    let within: Vec<_> = blocks.iter().map(|block| within(&statements, &block.unit)).collect();
    let right: Vec<u32> = within.iter().map(|range| range.len() as u32).collect();
    let mut counts: Vec<u32> = blocks.iter().map(|block| block.unit.statements).collect();
    if right == counts {
        // Lines of several statements are not repeated numbers.
        return Some(counts);
    }
    let (mut start, mut repeated) = (0, false);
    while start < blocks.len() {
        let number = counts[start];
        let (mut end, mut sum, mut last_end) = (start, 0, (0, 0));
        while end < blocks.len() && number > 1 && counts[end] == number {
            let Unit { start_line, start_column, .. } = blocks[end].unit;
            // A piece in which no statement begins is in the middle of one: in a list of several lines, for example.
            let is_middle = right[end] == 0 && (start_line, start_column) < last_end;
            if !is_middle && (right[end] == 0 || sum >= number) {
                break;
            }
            let ends = statements[within[end].clone()].iter().map(|statement| statement.end);
            last_end = ends.fold(last_end, Ord::max);
            sum += right[end];
            end += 1;
        }
        // The number of the whole block counts a label as a statement.
        if end > start + 1 && (sum == number || sum + 1 == number) {
            counts[start..end].copy_from_slice(&right[start..end]);
            repeated = true;
        }
        start = end.max(start + 1);
    }
    repeated.then_some(counts)
}

/// Gives blocks without a function the function that contains them in the source. If a block is in no function, the source is
/// of another version, and no block is changed: the error is the end of that block.
fn name_functions(
    blocks: &mut [Block],
    functions: &mut Vec<ProfileFunction<'_>>,
    extents: &[golang::FunctionExtent],
) -> Result<(), (u32, u32)> {
    let first = functions.len() as u32;
    let within = |block: &Block| {
        // After `//line` there is no column.
        let column = if block.unit.start_column == 0 { u32::MAX } else { block.unit.start_column };
        let place = (block.unit.start_line, column);
        let number = extents.partition_point(|extent| extent.start <= place).checked_sub(1)?;
        (place < extents[number].end).then_some(first + number as u32)
    };
    let of_block = |block: &Block| block.function.or_else(|| within(block)).ok_or_else(|| end(block));
    let of_blocks = blocks.iter().map(of_block).collect::<Result<Vec<_>, _>>()?;
    for (block, function) in blocks.iter_mut().zip(of_blocks) {
        block.function = Some(function);
    }
    let named = |extent: &golang::FunctionExtent| ProfileFunction {
        name: extent.name.clone().into(),
        literal: extent.literal,
        line: Some(extent.start.0),
    };
    functions.extend(extents.iter().map(named));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(start_line: u32, end_line: u32, statements: u32) -> Block {
        let unit = Unit { start_line, start_column: 2, end_line, end_column: 1, statements };
        Block { unit, count: 1, function: None }
    }

    #[test]
    fn a_piece_in_the_middle_of_a_statement_has_none() {
        let source = "package p\n\nfunc f() {\n\ta()\n\tb(\n\t\t1,\n\n\t\t2,\n\t)\n}\n";
        assert_eq!(statement_counts(&[block(4, 7, 2), block(8, 10, 2)], source), Some(vec![2, 0]));
    }

    #[test]
    fn blocks_fit_the_source_that_they_are_of() {
        let source = "package p\n\nfunc f() {\n\ta()\n\tb()\n}\n\nfunc g() {\n\tc()\n}\n";
        let fits = |blocks: &[Block]| fits(blocks, source, |_| false);
        assert!(fits(&[block(4, 6, 2), block(9, 10, 1)]));
        assert!(!fits(&[block(4, 6, 2)]), "a function has no block");
        assert!(!fits(&[block(4, 6, 4), block(9, 10, 1)]), "more statements");
        assert!(!fits(&[block(4, 6, 2), block(9, 30, 1)]), "more lines");
        assert!(!fits(&[block(4, 6, 2), block(4, 6, 2), block(9, 10, 1)]), "statements of two blocks");
        let lacks_c = |blocks: &[Block]| super::fits(blocks, source, |statement| statement.start == (9, 2));
        assert!(lacks_c(&[block(4, 6, 2)]) && !lacks_c(&[block(9, 10, 1)]));
    }

    /// In the source of now, the second block's statements are comments.
    #[test]
    fn a_block_of_another_version_keeps_its_statements() {
        let source = "package p\n\nfunc f() {\n\ta()\n\tb()\n\t// c()\n\t// d()\n}\n";
        assert_eq!(statement_counts(&[block(4, 6, 2), block(6, 8, 2)], source), None);
    }
}
