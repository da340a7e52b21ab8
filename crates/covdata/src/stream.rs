//! Results that are made package by package. They need no [`Profile`] of all packages in memory, and each package uses
//! the memory of the one before, which costs the system no time to provide.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use crate::func::Columns;
use crate::profile::{Group, groups};
use crate::text::{write_block, write_blocks};
use crate::{Coverage, Data, Findings, Mode, PackagePercent, PackageProfile, Percent, Profile, parallel};

impl Data<'_> {
    /// The result of [`Profile::percent`] for the selected packages, and the findings about their files.
    #[must_use]
    pub fn percent(&self, is_selected: impl Fn(&str) -> bool) -> (Percent, Findings<'_>) {
        let Some(mode) = self.streamable() else {
            let profile = self.selected(is_selected);
            return (profile.percent(), findings(&profile));
        };
        let parts = self.parts(is_selected);
        let packages = parallel::map_bytes(&groups(&parts), self.size(), |group| {
            let mut coverage = Coverage::default();
            if group.in_order::<false>(mode, |function| coverage += function.coverage) {
                return (PackagePercent { path: group.path.to_owned(), coverage }, Vec::new());
            }
            let package = group.merge(mode);
            (PackagePercent::of(&package), package.findings())
        });
        let (packages, findings): (Vec<_>, Vec<_>) = packages.into_iter().unzip();
        (Percent { packages }, findings.into_iter().flatten().collect())
    }

    /// Writes what [`Profile::functions`] prints, for the selected packages, and gives the findings about their files.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn write_functions(
        &self,
        is_selected: impl Fn(&str) -> bool,
        out: &mut impl Write,
    ) -> io::Result<Findings<'_>> {
        let Some(mode) = self.streamable() else {
            let profile = self.selected(is_selected);
            write!(out, "{}", profile.functions())?;
            return Ok(findings(&profile));
        };
        let parts = self.parts(is_selected);
        let groups = groups(&parts);
        // The functions are made twice, once for the columns' widths and once for the lines: that takes less time than
        // keeping them.
        let packages = parallel::map_bytes(&groups, self.size(), |group| {
            let (functions, findings) = group.functions(mode);
            let total = functions.iter().map(|function| function.coverage).sum();
            (Columns::of(&functions), total, findings)
        });
        let none = (Columns::of(&[]), Coverage::default(), Vec::new());
        let (columns, total, findings) = packages.into_iter().fold(none, |mut all, package| {
            all.2.extend(package.2);
            (all.0.max(package.0), all.1 + package.1, all.2)
        });
        write_pieces(&groups, self.size(), out, |group, text| {
            // Writing to memory does not fail.
            let _ = columns.lines(&group.functions(mode).0, &mut Text(text));
            Vec::new()
        })?;
        let mut text = Vec::new();
        let _ = columns.total(total, &mut Text(&mut text));
        out.write_all(&text)?;
        Ok(findings)
    }

    /// Writes what [`Profile::write_text`] writes, for the selected packages, and gives the findings about their files.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn write_text(
        &self,
        is_selected: impl Fn(&str) -> bool,
        out: &mut impl Write,
    ) -> io::Result<Findings<'_>> {
        let Some(mode) = self.streamable() else {
            let profile = self.selected(is_selected);
            profile.write_text(out)?;
            return Ok(findings(&profile));
        };
        writeln!(out, "mode: {mode}")?;
        let parts = self.parts(is_selected);
        write_pieces(&groups(&parts), self.size(), out, |group, text| {
            let start = text.len();
            let in_order = group.in_order::<true>(mode, |function| {
                function.blocks().for_each(|block| write_block(function.file, block, text));
            });
            if in_order {
                return Vec::new();
            }
            text.truncate(start);
            let package = group.merge(mode);
            package.files.iter().for_each(|file| write_blocks(file, text));
            package.findings()
        })
    }

    /// The mode, if results can be made package by package: there are data, and no text profiles.
    fn streamable(&self) -> Option<Mode> {
        self.mode().filter(|_| !self.has_text())
    }

    fn selected(&self, is_selected: impl Fn(&str) -> bool) -> Profile<'_> {
        let mut profile = self.profile();
        profile.packages_mut().retain(|package| is_selected(package.path));
        profile
    }
}

fn findings<'a>(profile: &Profile<'a>) -> Findings<'a> {
    profile.packages().iter().flat_map(PackageProfile::findings).collect()
}

/// Writes the text that `make` gives for each package, in the order of the packages, and gives all findings.
///
/// The buffers of text that was written are used again. Without that, the system takes a fifth of the processor's time to
/// provide new memory, in `podcov-report textfmt` for Kubernetes.
fn write_pieces<'a>(
    groups: &[Group<'_, 'a>],
    size: usize,
    out: &mut impl Write,
    make: impl Fn(&Group<'_, 'a>, &mut Vec<u8>) -> Findings<'a> + Sync,
) -> io::Result<Findings<'a>> {
    let mut all_findings = Vec::new();
    let written = Mutex::new(Vec::<Vec<u8>>::new());
    let written = || written.lock().unwrap_or_else(PoisonError::into_inner);
    for pieces in pieces(groups).chunks(AT_ONCE * parallel::processors()) {
        let made = parallel::map_bytes(pieces, size, |groups| {
            let mut text = written().pop().unwrap_or_default();
            text.clear();
            let mut findings = Vec::new();
            for group in *groups {
                findings.extend(make(group, &mut text));
            }
            (text, findings)
        });
        for (text, findings) in made {
            out.write_all(&text)?;
            written().push(text);
            all_findings.extend(findings);
        }
    }
    Ok(all_findings)
}

/// Splits packages into pieces of work.
fn pieces<'g, 'p, 'a>(groups: &'g [Group<'p, 'a>]) -> Vec<&'g [Group<'p, 'a>]> {
    let mut pieces = Vec::new();
    let mut rest = groups;
    while !rest.is_empty() {
        let mut size = 0;
        let fitting = rest.iter().take_while(|group| {
            let fits = size < PIECE;
            size += group.size();
            fits
        });
        let (piece, others) = rest.split_at(fitting.count());
        pieces.push(piece);
        rest = others;
    }
    pieces
}

/// The least number of bytes of meta-data in a piece of work, but for the last piece.
const PIECE: usize = 16 << 10;

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
