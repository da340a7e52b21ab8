//! The content of coverage files and text profiles.

use crate::binary::BinaryCounts;
use crate::texts::{TextCounts, package_of};

/// The counters of any number of runs of any number of binaries, and text profiles.
#[derive(Debug, Clone, Default)]
pub struct Data<'a> {
    /// Sorted by hash.
    pub(crate) binaries: Vec<BinaryCounts<'a>>,
    /// All text profiles, added up.
    pub(crate) text: Option<TextCounts>,
    /// The files that were renamed.
    pub(crate) renamed: Vec<RenamedFile>,
    /// Those of them that are in text profiles.
    pub(crate) renamed_texts: Vec<RenamedFile>,
    /// The data of each suite, if suites were read apart. All of them together are these data.
    pub(crate) suites: Vec<Self>,
}

impl Data<'_> {
    /// Whether there are neither binaries nor text profiles.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.binaries.is_empty() && self.text.is_none()
    }

    /// The data of each suite; none if they were not read by [`Files::read_suites`](crate::Files::read_suites).
    #[must_use]
    pub fn suites(&self) -> &[Self] {
        &self.suites
    }

    /// Whether there are text profiles in it, which coverage files cannot hold.
    #[must_use]
    pub fn has_text(&self) -> bool {
        self.text.is_some()
    }

    /// The import paths of all packages, some of them several times.
    pub fn package_paths(&self) -> impl Iterator<Item = &str> {
        let binaries = self
            .binaries
            .iter()
            .flat_map(|counted| (0..counted.binary.file.packages.len()).map(|package| counted.path(package)));
        let files = self.text.iter().flat_map(|text| text.files.keys());
        binaries.chain(files.map(|name| package_of(name)))
    }

    /// The names of all source files, some of them several times.
    pub fn file_names(&self) -> impl Iterator<Item = &str> {
        let binaries = self.binaries.iter().flat_map(|counted| {
            let packages = counted.binary.file.packages.iter().enumerate();
            packages.flat_map(move |(index, package)| {
                package.functions().map(move |function| counted.file(index, &function))
            })
        });
        let texts = self.text.iter().flat_map(|text| text.files.keys());
        binaries.chain(texts.map(String::as_str))
    }
}

/// A file that has another name in the result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RenamedFile {
    /// The name in the data.
    pub from: String,
    /// The name in the result.
    pub to: String,
}
