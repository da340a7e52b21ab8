//! Percentages, in numbers and in the lines of `go tool covdata percent`.
//!
//! Go: `EmitPercent` in `internal/coverage/cformat`.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use crate::{Block, PackageProfile, Profile};

/// How many statements ran, of how many. [`Display`](fmt::Display) gives `coverage: 81.3% of statements`, or
/// `coverage: [no statements]`, as Go does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Statements that ran at least once.
    pub covered: u64,
    /// All statements.
    pub total: u64,
}

/// The coverage of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagePercent {
    /// Its import path.
    pub path: String,
    /// Its statements.
    pub coverage: Coverage,
}

/// The coverage of each package, sorted by path. [`Display`](fmt::Display) gives what `go tool covdata
/// percent` prints, to the character: the line of a package without statements has neither a
/// percentage nor a newline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Percent {
    /// The packages.
    pub packages: Vec<PackagePercent>,
}

impl Profile<'_> {
    /// Sums up statements by package.
    #[must_use]
    pub fn percent(&self) -> Percent {
        Percent { packages: self.packages().iter().map(PackagePercent::of).collect() }
    }
}

impl PackagePercent {
    /// Sums up a package's statements.
    pub(crate) fn of(package: &PackageProfile<'_>) -> Self {
        let blocks = package.files.iter().flat_map(|file| &file.blocks);
        Self { path: package.path.to_owned(), coverage: blocks.collect() }
    }
}

impl Percent {
    /// The coverage over all packages.
    #[must_use]
    pub fn total(&self) -> Coverage {
        self.packages.iter().map(|package| package.coverage).sum()
    }
}

impl Coverage {
    /// From 0 to 100; `None` if there is no statement.
    #[must_use]
    pub fn percent(self) -> Option<f64> {
        // In Go's order of operations, for the same last bit.
        (self.total != 0).then(|| 100.0 * self.covered as f64 / self.total as f64)
    }

    /// Writes the percentage as Go does; a function without statements counts as not covered.
    pub(crate) fn write_percent(self, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            // Most percentages are one of these, and formatting is slow.
            Self { covered: 0, .. } => out.write_str("0.0%"),
            Self { covered, total } if covered == total => out.write_str("100.0%"),
            _ => write!(out, "{:.1}%", self.percent().unwrap_or_default()),
        }
    }

    /// Adds a block with this number of statements that ran `count` times.
    #[inline]
    pub(crate) fn count(&mut self, statements: u32, count: u32) {
        self.total += u64::from(statements);
        self.covered += if count == 0 { 0 } else { u64::from(statements) };
    }
}

impl<'b> FromIterator<&'b Block> for Coverage {
    /// The coverage of blocks.
    fn from_iter<I: IntoIterator<Item = &'b Block>>(blocks: I) -> Self {
        let mut sum = Self::default();
        blocks.into_iter().for_each(|block| sum.count(block.unit.statements, block.count));
        sum
    }
}

impl Add for Coverage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { covered: self.covered + other.covered, total: self.total + other.total }
    }
}

impl AddAssign for Coverage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Coverage {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total == 0 {
            return f.write_str("coverage: [no statements]");
        }
        f.write_str("coverage: ")?;
        self.write_percent(f)?;
        f.write_str(" of statements")
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PackagePercent { path, coverage } in &self.packages {
            for part in ["\t", path, "\t\t"] {
                f.write_str(part)?;
            }
            if coverage.total != 0 {
                coverage.fmt(f)?;
                f.write_str("\n")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(path: &str, covered: u64, total: u64) -> PackagePercent {
        PackagePercent { path: path.to_owned(), coverage: Coverage { covered, total } }
    }

    #[test]
    fn lines_as_go_writes_them() {
        let percent = Percent {
            packages: vec![
                package("m", 1, 1),
                package("m/a", 0, 3),
                package("m/b", 0, 0),
                package("m/c", 1, 16),
            ],
        };
        // 1/16 is 6.25 exactly: a tie goes to the even digit.
        let lines = "\tm\t\tcoverage: 100.0% of statements\n\
                     \tm/a\t\tcoverage: 0.0% of statements\n\
                     \tm/b\t\t\tm/c\t\tcoverage: 6.2% of statements\n";
        assert_eq!(percent.to_string(), lines);
        assert_eq!(percent.total(), Coverage { covered: 2, total: 20 });
        assert_eq!(percent.total().to_string(), "coverage: 10.0% of statements");
    }

    #[test]
    fn no_statements() {
        let percent = Percent { packages: vec![package("m", 0, 0)] };
        assert_eq!(percent.to_string(), "\tm\t\t");
        assert_eq!(percent.total().to_string(), "coverage: [no statements]");
        assert_eq!(percent.total().percent(), None);
    }
}
