//! What can be said of one package after the other: a [`Profile`](crate::Profile) of everything need not be held for it,
//! and memory that is used again costs no time to get.

use std::io::{self, Write};

use crate::profile::{Group, groups};
use crate::text::write_blocks;
use crate::{
    Coverage, Data, FunctionCoverage, Functions, Mode, PackagePercent, PackageProfile, Percent, parallel,
};

impl Data<'_> {
    /// What [`Profile::percent`](crate::Profile::percent) gives, for the packages that are wanted, and the files that are
    /// [`mixed`](crate::FileProfile::mixed).
    #[must_use]
    pub fn percent(&self, wanted: impl Fn(&str) -> bool) -> (Percent, Vec<&str>) {
        let Some(mode) = self.mode().filter(|_| self.texts.is_empty()) else {
            let mut profile = self.profile();
            profile.packages_mut().retain(|package| wanted(package.path));
            return (
                profile.percent(),
                profile.files().filter(|file| file.mixed).map(|file| file.name).collect(),
            );
        };
        let parts = self.parts(wanted);
        let packages = parallel::map(&groups(&parts), self.size(), |group| {
            let mut coverage = Coverage::default();
            if group.sum_up(|function| coverage = [coverage, function.coverage].into_iter().sum()).is_some() {
                return (PackagePercent { path: group.path.to_owned(), coverage }, Vec::new());
            }
            let package = group.merge(mode);
            (PackagePercent::of(&package), mixed(&package))
        });
        let (packages, mixed): (Vec<_>, Vec<_>) = packages.into_iter().unzip();
        (Percent { packages }, mixed.into_iter().flatten().collect())
    }

    /// What [`Profile::functions`](crate::Profile::functions) gives, for the packages that are wanted, and the files that
    /// are [`mixed`](crate::FileProfile::mixed).
    #[must_use]
    pub fn functions(&self, wanted: impl Fn(&str) -> bool) -> (Functions<'_>, Vec<&str>) {
        let Some(mode) = self.mode().filter(|_| self.texts.is_empty()) else {
            let mut profile = self.profile();
            profile.packages_mut().retain(|package| wanted(package.path));
            return (
                profile.functions(),
                profile.files().filter(|file| file.mixed).map(|file| file.name).collect(),
            );
        };
        let parts = self.parts(wanted);
        let packages = parallel::map(&groups(&parts), self.size(), |group| {
            let mut functions = Vec::new();
            if group.sum_up(|function| functions.push(function)).is_some() {
                FunctionCoverage::order(&mut functions);
                return (functions, Vec::new());
            }
            let package = group.merge(mode);
            (package.functions().collect(), mixed(&package))
        });
        let (functions, mixed): (Vec<_>, Vec<_>) = packages.into_iter().unzip();
        (
            Functions { functions: functions.into_iter().flatten().collect() },
            mixed.into_iter().flatten().collect(),
        )
    }

    /// Writes what [`Profile::write_text`](crate::Profile::write_text) writes, for the packages that are wanted, and gives
    /// the files that are [`mixed`](crate::FileProfile::mixed).
    ///
    /// # Errors
    ///
    /// What `out` says.
    pub fn write_text(&self, wanted: impl Fn(&str) -> bool, out: &mut impl Write) -> io::Result<Vec<&str>> {
        let Some(mode) = self.mode().filter(|_| self.texts.is_empty()) else {
            let mut profile = self.profile();
            profile.packages_mut().retain(|package| wanted(package.path));
            profile.write_text(out)?;
            return Ok(profile.files().filter(|file| file.mixed).map(|file| file.name).collect());
        };
        writeln!(out, "mode: {mode}")?;
        let parts = self.parts(wanted);
        let groups = groups(&parts);
        let mut all_mixed = Vec::new();
        // While some packages' text is written, that of the next is made, into the memory of those before.
        let [mut ready, mut next] = [(); 2].map(|()| [(); AT_ONCE].map(|()| Part::default()));
        let mut pieces = groups.chunks(PACKAGES);
        // Once more at the end, for the last to be written.
        for _ in 0..=groups.len().div_ceil(PACKAGES * AT_ONCE) {
            next.iter_mut().for_each(|part| part.groups = pieces.next().unwrap_or_default());
            parallel::change_while(
                &mut next,
                self.size(),
                |part| part.write(mode),
                || {
                    ready.iter_mut().try_for_each(|part| {
                        all_mixed.append(&mut part.mixed);
                        out.write_all(&part.text)
                    })
                },
            )?;
            std::mem::swap(&mut ready, &mut next);
        }
        Ok(all_mixed)
    }
}

/// How many packages are one piece of work, and how many pieces of it are done before their text is written.
const PACKAGES: usize = 16;
const AT_ONCE: usize = 8;

/// The text of some packages.
#[derive(Default)]
struct Part<'g, 'a> {
    groups: &'g [Group<'g, 'a>],
    text: Vec<u8>,
    mixed: Vec<&'a str>,
}

impl Part<'_, '_> {
    fn write(&mut self, mode: Mode) {
        self.text.clear();
        for group in self.groups {
            let package = group.merge(mode);
            package.files.iter().for_each(|file| write_blocks(file, &mut self.text));
            self.mixed.extend(mixed(&package));
        }
    }
}

fn mixed<'a>(package: &PackageProfile<'a>) -> Vec<&'a str> {
    package.files.iter().filter(|file| file.mixed).map(|file| file.name).collect()
}
