//! The coverage of each function, in numbers and in the lines of `go tool covdata func`.
//!
//! Go: `EmitFuncs` in `internal/coverage/cformat`. One difference: where a file ends with a function and the next
//! begins with one of the same name (`init`, `main`), Go merges the two.

use std::borrow::Cow;
use std::fmt;

use crate::{Block, Coverage, FileProfile, PackageProfile, Profile};

/// The coverage of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionCoverage<'p> {
    /// The import path of its package.
    pub package: &'p str,
    /// Its source file, as in [`FileProfile::name`](crate::FileProfile::name).
    pub file: &'p str,
    /// The line that it begins in, from 1; if that is not known, the line that its first block begins in.
    pub line: u32,
    /// Its name; `?` where only text profiles have it and its source is not known.
    pub name: Cow<'p, str>,
    /// Whether it is a function literal outside of any function, which has a made-up name.
    pub literal: bool,
    /// Its statements.
    pub coverage: Coverage,
}

/// The blocks of a function.
#[derive(Debug, Clone, Copy)]
pub struct FunctionBlocks<'p, 'a> {
    /// Its name; `?` where only text profiles have it.
    pub name: &'p Cow<'a, str>,
    /// Whether it is a function literal outside of any function, which has a made-up name.
    pub literal: bool,
    /// The line that it begins in; if that is not known, the line that its first block begins in.
    pub line: u32,
    /// Its blocks.
    pub blocks: &'p [Block],
}

/// The coverage of each function, by package, file and place. [`Display`](fmt::Display) gives what `go tool covdata
/// func` prints: without the function literals outside of functions, and with a total that counts them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Functions<'p> {
    /// The functions.
    pub functions: Vec<FunctionCoverage<'p>>,
}

impl<'a> Profile<'a> {
    /// Sums up statements by function.
    #[must_use]
    pub fn functions(&self) -> Functions<'a> {
        Functions { functions: self.packages().iter().flat_map(PackageProfile::function_coverage).collect() }
    }
}

impl<'a> PackageProfile<'a> {
    /// The coverage of each of its functions.
    pub(crate) fn function_coverage(&self) -> impl Iterator<Item = FunctionCoverage<'a>> {
        let files = self.files.iter();
        files.flat_map(|file| {
            self.functions_of(file).map(|function| FunctionCoverage {
                package: self.path,
                file: file.name,
                line: function.line,
                name: function.name.clone(),
                literal: function.literal,
                coverage: function.blocks.iter().collect(),
            })
        })
    }

    /// The functions of one of its files, in the order of their blocks. Each has at least one block.
    pub fn functions_of<'p>(
        &'p self,
        file: &'p FileProfile<'_>,
    ) -> impl Iterator<Item = FunctionBlocks<'p, 'a>> {
        const UNKNOWN: &Cow<'_, str> = &Cow::Borrowed("?");
        let function = |block: &Block| block.function.map(|function| &self.functions[function as usize]);
        let named = move |block: &Block| {
            function(block).map_or((UNKNOWN, false), |function| (&function.name, function.literal))
        };
        let runs = file.blocks.chunk_by(move |a, b| a.function == b.function || named(a) == named(b));
        runs.map(move |blocks| {
            let (name, literal) = named(&blocks[0]);
            let known = function(&blocks[0]).and_then(|function| function.line);
            let line = known.unwrap_or(blocks[0].unit.start_line);
            FunctionBlocks { name, literal, line, blocks }
        })
    }
}

impl Functions<'_> {
    /// The coverage over all functions.
    #[must_use]
    pub fn total(&self) -> Coverage {
        self.functions.iter().map(|function| function.coverage).sum()
    }
}

impl fmt::Display for Functions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = Columns::of(&self.functions.iter());
        columns.lines(self.functions.iter(), f)?;
        columns.total(self.total(), f)
    }
}

/// The widths of the columns in the functions' lines, in tab stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns {
    places: usize,
    names: usize,
}

impl Columns {
    /// The smallest widths with room for all these functions and the total.
    pub(crate) fn of<'f>(functions: &(impl Iterator<Item = &'f FunctionCoverage<'f>> + Clone)) -> Self {
        let widest = |width: fn(&FunctionCoverage<'_>) -> usize, other: &str| {
            shown(functions.clone()).map(width).max().unwrap_or_default().max(other.len())
        };
        Self {
            places: tabs(widest(place_width, "total")),
            names: tabs(widest(|function| width(&function.name), "(statements)")),
        }
    }

    /// Writes functions, a line each.
    pub(crate) fn lines<'f>(
        self,
        functions: impl Iterator<Item = &'f FunctionCoverage<'f>>,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        for function in shown(functions) {
            let FunctionCoverage { file, line, name, coverage, .. } = function;
            write!(out, "{file}:{line}:")?;
            pad(out, self.places, place_width(function))?;
            out.write_str(name)?;
            pad(out, self.names, width(name))?;
            coverage.write_percent(out)?;
            out.write_str("\n")?;
        }
        Ok(())
    }

    /// Writes the last line.
    pub(crate) fn total(self, total: Coverage, out: &mut impl fmt::Write) -> fmt::Result {
        out.write_str("total")?;
        pad(out, self.places, "total".len())?;
        out.write_str("(statements)")?;
        pad(out, self.names, "(statements)".len())?;
        total.write_percent(out)?;
        out.write_str("\n")
    }
}

/// The functions that are printed: all but function literals.
fn shown<'f>(
    functions: impl Iterator<Item = &'f FunctionCoverage<'f>>,
) -> impl Iterator<Item = &'f FunctionCoverage<'f>> {
    functions.filter(|function| !function.literal)
}

fn place_width(function: &FunctionCoverage<'_>) -> usize {
    let digits = function.line.checked_ilog10().unwrap_or_default() as usize + 1;
    width(function.file) + digits + 2
}

/// The width of text in characters, as Go's tabwriter counts.
fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// The number of tab stops for a column whose widest cell has this width. A tab stop has eight characters, and at least one
/// character is left free. Go: `text/tabwriter` with a padding of 1.
fn tabs(widest: usize) -> usize {
    (widest + 1).div_ceil(8)
}

/// Writes the tabs after a cell of this width, in a column of this many tab stops.
fn pad(out: &mut impl fmt::Write, tabs: usize, width: usize) -> fmt::Result {
    const TABS: &str = "\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t";
    let mut left = tabs - width / 8;
    while left > 0 {
        let now = left.min(TABS.len());
        out.write_str(&TABS[..now])?;
        left -= now;
    }
    Ok(())
}
