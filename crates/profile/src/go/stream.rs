//! Results that are made package by package. They need no [`Profile`](crate::Profile) of all packages in memory, and each
//! package uses the memory of the one before, which costs the system no time to provide.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use covdata::Mode;

use crate::go::func::Columns;
use crate::go::text::write_blocks;
use crate::groups::Group;
use crate::{Data, Findings, PackagePercent, PackageProfile, PackageSuites, Percent, parallel};

impl Data<'_> {
    /// The result of [`Profile::percent`](crate::Profile::percent) for the selected packages, and the findings about their
    /// files.
    #[must_use]
    pub fn percent(&self, is_selected: impl Fn(&str) -> bool) -> (Percent, Findings<'_>) {
        let unmerged = |group: &Group<'_>, mode| {
            Some(PackagePercent {
                path: group.path.to_owned(),
                coverage: group.unmerged_coverage(mode, 0)?.0,
            })
        };
        let (packages, findings) = self.of_each_package(is_selected, unmerged, PackagePercent::of);
        (Percent { packages }, findings)
    }

    /// How many statements of each selected package each suite ran, and the findings about their files.
    #[must_use]
    pub fn suite_percent(&self, is_selected: impl Fn(&str) -> bool) -> (Vec<PackageSuites>, Findings<'_>) {
        let suites = self.suites.len();
        let unmerged = |group: &Group<'_>, mode| {
            let (_, coverage) = group.unmerged_coverage(mode, suites)?;
            Some(PackageSuites { path: group.path.to_owned(), coverage })
        };
        self.of_each_package(is_selected, unmerged, |package| PackageSuites::of(package, suites))
    }

    /// Writes what [`Profile::functions`](crate::Profile::functions) prints, for the selected packages, and gives the
    /// findings about their files.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn write_functions(
        &self,
        is_selected: impl Fn(&str) -> bool,
        out: &mut impl Write,
    ) -> io::Result<Findings<'_>> {
        let (packages, findings) = self.of_each_package(
            is_selected,
            |_, _| None,
            |package| package.function_coverage().collect::<Vec<_>>(),
        );
        let all = || packages.iter().flatten();
        let columns = Columns::of(&all());
        let pieces = pieces(&packages, Vec::len, FUNCTIONS);
        write_pieces(&pieces, self.size(), out, |packages, text| {
            // Writing to memory does not fail.
            let _ = columns.lines(packages.iter().flatten(), &mut Text(text));
        })?;
        let mut text = Vec::new();
        let _ = columns.total(all().map(|function| function.coverage).sum(), &mut Text(&mut text));
        out.write_all(&text)?;
        Ok(findings)
    }

    /// Writes what [`Profile::write_text`](crate::Profile::write_text) writes, for the selected packages, and gives the
    /// findings about their files.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn write_text(
        &self,
        is_selected: impl Fn(&str) -> bool,
        out: &mut impl Write,
    ) -> io::Result<Findings<'_>> {
        let Some(mode) = self.mode() else { return Ok(Vec::new()) };
        writeln!(out, "mode: {mode}")?;
        let groups = self.groups(is_selected);
        let pieces = pieces(&groups, Group::size, PIECE);
        let findings = write_pieces(&pieces, self.size(), out, |groups, text| {
            let findings = groups.iter().map(|group| {
                let package = group.merge(mode);
                package.files.iter().for_each(|file| write_blocks(file, text));
                package.findings()
            });
            findings.collect::<Vec<_>>().concat()
        })?;
        Ok(findings.concat())
    }

    /// What `make` gives for each selected package, and the findings about their files. A package for which `unmerged` gives
    /// something is not merged, and has no findings.
    fn of_each_package<'d, R: Send>(
        &'d self,
        is_selected: impl Fn(&str) -> bool,
        unmerged: impl Fn(&Group<'d>, Mode) -> Option<R> + Sync,
        make: impl Fn(&PackageProfile<'d>) -> R + Sync,
    ) -> (Vec<R>, Findings<'d>) {
        let Some(mode) = self.mode() else { return (Vec::new(), Vec::new()) };
        let groups = self.groups(is_selected);
        let made = parallel::map_bytes(&groups, self.size(), |group| {
            if let Some(made) = unmerged(group, mode) {
                return (made, Vec::new());
            }
            let mut package = group.merge(mode);
            group.count_suites(&mut package, self.suites.len(), mode);
            (make(&package), package.findings())
        });
        let (made, findings): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        (made, findings.concat())
    }
}

/// Writes the text that `make` adds for each piece, in order, and gives all that it returns.
///
/// The buffers of text that was written are used again. Without that, the system takes a fifth of the processor's time to
/// provide new memory, in `podcov-report textfmt` for Kubernetes.
fn write_pieces<T: Sync, R: Send>(
    pieces: &[T],
    size: usize,
    out: &mut impl Write,
    make: impl Fn(&T, &mut Vec<u8>) -> R + Sync,
) -> io::Result<Vec<R>> {
    let mut results = Vec::new();
    let written = Mutex::new(Vec::<Vec<u8>>::new());
    let written = || written.lock().unwrap_or_else(PoisonError::into_inner);
    for pieces in pieces.chunks(AT_ONCE * parallel::processors()) {
        let made = parallel::map_bytes(pieces, size, |piece| {
            let mut text = written().pop().unwrap_or_default();
            text.clear();
            let result = make(piece, &mut text);
            (text, result)
        });
        for (text, result) in made {
            out.write_all(&text)?;
            written().push(text);
            results.push(result);
        }
    }
    Ok(results)
}

/// Splits a list into pieces of work, of at least this size but for the last.
fn pieces<T>(list: &[T], size: impl Fn(&T) -> usize, least: usize) -> Vec<&[T]> {
    let mut sum = 0;
    let in_one = |item: &T, _: &T| {
        sum += size(item);
        let goes_on = sum < least;
        sum = if goes_on { sum } else { 0 };
        goes_on
    };
    list.chunk_by(in_one).collect()
}

/// The least number of bytes of meta-data in a piece of work, but for the last piece.
const PIECE: usize = 16 << 10;

/// The least number of functions in a piece of work, but for the last piece.
const FUNCTIONS: usize = 512;

/// How many pieces each processor makes before their text is written. Text is about eight times as long as meta-data.
const AT_ONCE: usize = 8;

/// A [`fmt::Write`] that appends to bytes.
struct Text<'t>(&'t mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
