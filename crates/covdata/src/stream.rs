//! What can be said of one package after the other: a [`Profile`] of everything need not be held for it,
//! and memory that is used again costs no time to get.

use std::fmt;
use std::io::{self, Write};

use crate::func::Columns;
use crate::profile::{Group, groups};
use crate::text::{write_block, write_blocks};
use crate::{Coverage, Data, Mode, PackagePercent, PackageProfile, Percent, Profile, parallel};

impl Data<'_> {
    /// What [`Profile::percent`] gives, for the packages that are wanted, and the files that are
    /// [`mixed`](crate::FileProfile::mixed).
    #[must_use]
    pub fn percent(&self, wanted: impl Fn(&str) -> bool) -> (Percent, Vec<&str>) {
        let Some(mode) = self.streamable() else {
            let profile = self.selected(wanted);
            return (profile.percent(), mixed(&profile));
        };
        let parts = self.parts(wanted);
        let packages = parallel::map(&groups(&parts), self.size(), |group| {
            let mut coverage = Coverage::default();
            if group.in_order::<false>(mode, |function| coverage += function.coverage) {
                return (PackagePercent { path: group.path.to_owned(), coverage }, Vec::new());
            }
            let package = group.merge(mode);
            (PackagePercent::of(&package), package.mixed())
        });
        let (packages, mixed): (Vec<_>, Vec<_>) = packages.into_iter().unzip();
        (Percent { packages }, mixed.into_iter().flatten().collect())
    }

    /// Writes what [`Profile::functions`] prints, for the packages that are wanted, and gives the files that are
    /// [`mixed`](crate::FileProfile::mixed).
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn write_functions(
        &self,
        wanted: impl Fn(&str) -> bool,
        out: &mut impl Write,
    ) -> io::Result<Vec<&str>> {
        let Some(mode) = self.streamable() else {
            let profile = self.selected(wanted);
            write!(out, "{}", profile.functions())?;
            return Ok(mixed(&profile));
        };
        let parts = self.parts(wanted);
        let groups = groups(&parts);
        // Twice, as the first line has to know how wide the last one is: that takes less time than keeping them.
        let packages = parallel::map(&groups, self.size(), |group| {
            let (functions, mixed) = group.functions(mode);
            let total = functions.iter().map(|function| function.coverage).sum();
            (Columns::of(&functions), total, mixed)
        });
        let none = (Columns::of(&[]), Coverage::default(), Vec::new());
        let (columns, total, mixed) = packages.into_iter().fold(none, |mut all, package| {
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
        Ok(mixed)
    }

    /// Writes what [`Profile::write_text`] writes, for the packages that are wanted, and gives the files that are
    /// [`mixed`](crate::FileProfile::mixed).
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn write_text(&self, wanted: impl Fn(&str) -> bool, out: &mut impl Write) -> io::Result<Vec<&str>> {
        let Some(mode) = self.streamable() else {
            let profile = self.selected(wanted);
            profile.write_text(out)?;
            return Ok(mixed(&profile));
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
            package.mixed()
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

fn mixed<'a>(profile: &Profile<'a>) -> Vec<&'a str> {
    profile.packages().iter().flat_map(PackageProfile::mixed).collect()
}

/// Writes the text that is made of each package, in their order, and gives what else is made.
fn write_pieces<'a>(
    groups: &[Group<'_, 'a>],
    size: usize,
    out: &mut impl Write,
    make: impl Fn(&Group<'_, 'a>, &mut Vec<u8>) -> Vec<&'a str> + Sync,
) -> io::Result<Vec<&'a str>> {
    let mut all_mixed = Vec::new();
    // While some packages' text is written, that of the next is made, into the memory of those before.
    let [mut ready, mut next] = [(); 2].map(|()| [(); AT_ONCE].map(|()| Piece::default()));
    let mut rest = groups;
    // Once more at the end, for the last to be written.
    while !rest.is_empty() || ready.iter().any(|piece| !piece.groups.is_empty()) {
        for piece in &mut next {
            let mut size = 0;
            let packages = rest.iter().take_while(|group| {
                let fits = size < PIECE;
                size += group.size();
                fits
            });
            (piece.groups, rest) = rest.split_at(packages.count());
        }
        parallel::change_while(
            &mut next,
            size,
            |piece| {
                piece.text.clear();
                for group in piece.groups {
                    piece.mixed.extend(make(group, &mut piece.text));
                }
            },
            || {
                ready.iter_mut().try_for_each(|piece| {
                    all_mixed.append(&mut piece.mixed);
                    out.write_all(&piece.text)
                })
            },
        )?;
        std::mem::swap(&mut ready, &mut next);
    }
    Ok(all_mixed)
}

/// How many bytes of meta-data at least are one piece of work, and how many pieces are done before their text, some
/// times as much, is written. That should stay in the processor's cache.
const PIECE: usize = 16 << 10;
const AT_ONCE: usize = 4;

/// The text of some packages.
#[derive(Default)]
struct Piece<'g, 'a> {
    groups: &'g [Group<'g, 'a>],
    text: Vec<u8>,
    mixed: Vec<&'a str>,
}

/// Text in bytes.
struct Text<'t>(&'t mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
