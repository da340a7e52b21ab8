//! Profiles: the counts of every block, merged over runs, binaries and text profiles.

use std::borrow::Cow;

use covdata::{Mode, Unit};

/// The merged counts of any number of runs of any number of binaries, and of text profiles. Names are borrowed from
/// the [`Data`](crate::Data).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile<'a> {
    pub(crate) mode: Option<Mode>,
    pub(crate) packages: Vec<PackageProfile<'a>>,
}

/// A package of a [`Profile`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageProfile<'a> {
    /// Its import path.
    pub path: &'a str,
    /// Its functions, for [`Block::function`]. One that is in several inputs is there several times.
    pub functions: Vec<ProfileFunction<'a>>,
    /// Its source files that have blocks, sorted by name.
    pub files: Vec<FileProfile<'a>>,
}

/// A source file of a [`PackageProfile`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileProfile<'a> {
    /// Import path, slash, base name. An absolute path where the binary was built from files, not from a package.
    pub name: &'a str,
    /// The blocks, each once, in Go's order: by first line, last line, first column, last column. Blocks of one
    /// version of the source do not overlap, so this is their order in the source.
    pub blocks: Vec<Block>,
    /// The worst finding about the blocks.
    pub finding: Option<Finding>,
    /// For each suite, how often each of the blocks ran in it; without any number if none of them did. Empty where suites were
    /// not read apart.
    pub suites: Vec<Vec<u32>>,
}

/// Why a file's blocks or numbers are doubtful, from harmless to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The inputs were built by several releases of Go, which cut functions into blocks differently. The finest blocks
    /// count, each with the runs of the coarser ones that it is in.
    Joined,
    /// Numbers of statements are too large: Go 1.27.0 and 1.27.1 give each piece of a block the number of the whole.
    Repeated,
    /// Blocks in a file with `//line` directives overlap: releases of Go place such blocks differently. The statements of
    /// all count.
    LineDirectives,
    /// The inputs were built from different versions of the source, and percentages count the statements of all versions.
    /// Either blocks overlap, cannot be joined, and are not all in one input; or blocks at one position have different
    /// numbers of statements, which a single build never has.
    Mixed,
}

impl Finding {
    /// The message for people. `files` names the first file, and the number of further ones.
    #[must_use]
    pub fn message(self, files: &str) -> String {
        match self {
            Self::Joined => format!(
                "the inputs were built by several releases of Go, which cut {files} into blocks differently: each statement \
                 counts once, and go tool covdata gives other numbers"
            ),
            Self::Repeated => format!(
                "Go 1.27.0 or 1.27.1 built {files} and counts statements several times there, so the total is too large \
                 (golang/go 80974): build with 1.27.2 or later"
            ),
            Self::LineDirectives => format!(
                "the inputs disagree about {files}, which has //line directives: releases of Go place their blocks \
                 differently, and the statements of all count"
            ),
            Self::Mixed => format!(
                "the inputs were built from different versions of {files}: the statements of all versions count"
            ),
        }
    }
}

/// Findings by the name of the file.
pub type Findings<'a> = Vec<(&'a str, Finding)>;

/// A function of a [`PackageProfile`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProfileFunction<'a> {
    /// Its name, with the receiver's type before it, as in `Cart.Add` or `*Cart.Add`.
    pub name: Cow<'a, str>,
    /// Whether it is a function literal outside of any function, which has a made-up name.
    pub literal: bool,
    /// The line that it begins in, if another release's blocks or the source tell it. From Go 1.27 on, the first block
    /// begins at the first statement, which may be in a later line.
    pub line: Option<u32>,
}

/// A unit and its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where it is, and its number of statements.
    pub unit: Unit,
    /// How often it ran; 0 or 1 in mode set, and [`u32::MAX`] for that many or more.
    pub count: u32,
    /// Index of its function in [`PackageProfile::functions`]; `None` where only text profiles have it.
    pub function: Option<u32>,
}

impl<'a> Profile<'a> {
    /// The packages, sorted by path as Go sorts: by bytes. Also those without files: they have no statements.
    #[must_use]
    pub fn packages(&self) -> &[PackageProfile<'a>] {
        &self.packages
    }

    /// The packages, to complete or to remove some.
    pub fn packages_mut(&mut self) -> &mut Vec<PackageProfile<'a>> {
        &mut self.packages
    }

    /// All source files, by package and name.
    pub fn files(&self) -> impl Iterator<Item = &FileProfile<'a>> + Clone {
        self.packages.iter().flat_map(|package| &package.files)
    }

    /// The counter mode; `None` if there was no file. For inputs of several modes it is the latest one in the order set,
    /// count, atomic, and a block that ran in mode set counts as one run.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }
}

impl<'a> PackageProfile<'a> {
    /// The findings about its files.
    pub(crate) fn findings(&self) -> Findings<'a> {
        self.files.iter().filter_map(|file| Some((file.name, file.finding?))).collect()
    }
}
