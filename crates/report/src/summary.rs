//! The table for people in a terminal or a log: a line for each package, and the total.

use std::fmt;

use podcov_profile::{Coverage, Percent};

use crate::text;

/// The coverage of each package and in total. [`Display`](fmt::Display) gives the table, plain text without control
/// characters, even if the packages' names have some.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'p>(pub &'p Percent);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |number: fn(Coverage) -> u64| {
            let widest = self.0.packages.iter().map(|package| number(package.coverage)).max();
            widest.unwrap_or_default().to_string().len()
        };
        let (covered, total) = (width(|coverage| coverage.covered), width(|coverage| coverage.total));
        for package in &self.0.packages {
            let path = text::printable(&package.path);
            let Coverage { covered: c, total: t } = package.coverage;
            writeln!(f, "{:>6}  {c:>covered$} of {t:>total$}  {path}", percent(package.coverage))?;
        }
        writeln!(f, "{}", self.0.total())
    }
}

/// A percentage with one decimal; a dash if there is no statement.
#[must_use]
pub fn percent(coverage: Coverage) -> String {
    coverage.percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}%"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use podcov_profile::PackagePercent;

    #[test]
    fn columns_are_aligned_and_names_harmless() {
        let package = |path: &str, covered, total| PackagePercent {
            path: path.to_owned(),
            coverage: Coverage { covered, total },
        };
        let packages =
            vec![package("m/a", 5, 5), package("m/empty", 0, 0), package("m/\u{1b}[31mred", 80, 123)];
        assert_eq!(
            Summary(&Percent { packages }).to_string(),
            "100.0%   5 of   5  m/a\n     -   0 of   0  m/empty\n 65.0%  80 of 123  m/\u{fffd}[31mred\n\
             coverage: 66.4% of statements\n"
        );
    }
}
