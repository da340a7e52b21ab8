//! What can be said of one package after the other: a [`Profile`] of everything need not be held for it,
//! and memory that is used again costs no time to get.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use crate::func::Columns;
use crate::profile::{Group, groups};
use crate::text::{write_block, write_blocks};
use crate::{Coverage, Data, Findings, Mode, PackagePercent, PackageProfile, Percent, Profile, parallel};

impl Data<'_> {
    /// What [`Profile::percent`] gives, for the packages that are wanted, and what is odd about
    /// their files.
    #[must_use]
    pub fn percent(&self, wanted: impl Fn(&str) -> bool) -> (Percent, Findings<'_>) {
        let Some(mode) = self.streamable() else {
            let profile = self.selected(wanted);
            return (profile.percent(), findings(&profile));
        };
        let parts = self.parts(wanted);
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

    /// Writes what [`Profile::functions`] prints, for the packages that are wanted, and gives what is odd
    /// about their files.
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn write_functions(
        &self,
        wanted: impl Fn(&str) -> bool,
        out: &mut impl Write,
    ) -> io::Result<Findings<'_>> {
        let Some(mode) = self.streamable() else {
            let profile = self.selected(wanted);
            write!(out, "{}", profile.functions())?;
            return Ok(findings(&profile));
        };
        let parts = self.parts(wanted);
        let groups = groups(&parts);
        // Twice, as the first line has to know how wide the last one is: that takes less time than keeping them.
        let packages = parallel::map_bytes(&groups, self.size(), |group| {
            let (functions, findings) = group.functions(mode);
            let total = functions.iter().map(|function| function.coverage).sum();
            (Columns::of(&functions), total, findings)
        });
        let none = (Columns::of(&[]), Coverage::default(), Vec::new());
        let (columns, total, findings) = packages.into_iter().fold(none, |mut all, package| {
            all.2.extend(package.2);
            (all.0.and(package.0), all.1 + package.1, all.2)
        });
        write_pieces(&groups, self.size(), out, |group, text| {
            // Memory takes everything.
            let _ = columns.lines(&group.functions(mode).0, &mut Text(text));
            Vec::new()
        })?;
        let mut text = Vec::new();
        let _ = columns.total(total, &mut Text(&mut text));
        out.write_all(&text)?;
        Ok(findings)
    }

    /// Writes what [`Profile::write_text`] writes, for the packages that are wanted, and gives what is odd
    /// about their files.
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn write_text(
        &self,
        wanted: impl Fn(&str) -> bool,
        out: &mut impl Write,
    ) -> io::Result<Findings<'_>> {
        let Some(mode) = self.streamable() else {
            let profile = self.selected(wanted);
            profile.write_text(out)?;
            return Ok(findings(&profile));
        };
        writeln!(out, "mode: {mode}")?;
        let parts = self.parts(wanted);
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

    /// The mode, if one package can be looked at after the other.
    fn streamable(&self) -> Option<Mode> {
        self.mode().filter(|_| !self.has_text())
    }

    fn selected(&self, wanted: impl Fn(&str) -> bool) -> Profile<'_> {
        let mut profile = self.profile();
        profile.packages_mut().retain(|package| wanted(package.path));
        profile
    }
}

fn findings<'a>(profile: &Profile<'a>) -> Findings<'a> {
    profile.packages().iter().flat_map(PackageProfile::findings).collect()
}

/// Writes the text that is made of each package, in their order, and gives what else is made.
///
/// New text is made in the memory of text that was written. The system hands out new memory page by page, which is a fifth
/// of the processor's time of `podcov-report textfmt` for Kubernetes.
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

/// A piece of work is the packages with this many bytes of meta-data, or a few more.
const PIECE: usize = 16 << 10;

/// How many pieces are made for each processor before their text is written. The text is about eight times as long as the
/// meta-data.
const AT_ONCE: usize = 8;

/// Text in bytes.
struct Text<'t>(&'t mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
