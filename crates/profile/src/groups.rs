//! The packages of all inputs: what each binary and text profile has of a package.

use std::collections::{BTreeMap, HashMap};

use covdata::{Function, Mode, Package};

use crate::binary::BinaryCounts;
use crate::data::Data;
use crate::texts::{TextFileCounts, package_of};

impl Data<'_> {
    /// The latest counter mode of all inputs.
    pub(crate) fn mode(&self) -> Option<Mode> {
        let modes = self.binaries.iter().map(|counted| counted.binary.file.mode);
        modes.chain(self.text.iter().map(|text| text.mode)).max()
    }

    /// How many bytes of meta-data there are.
    pub(crate) fn size(&self) -> usize {
        self.binaries.iter().map(|counted| counted.binary.bytes.len()).sum()
    }

    /// The selected packages, sorted by path as Go sorts: by bytes.
    pub(crate) fn groups<'s>(&'s self, is_selected: impl Fn(&str) -> bool) -> Vec<Group<'s>> {
        let mut groups = BTreeMap::<&str, Group<'_>>::new();
        for part in parts(&self.binaries) {
            groups.entry(part.path()).or_insert_with(|| Group::new(part.path())).parts.push(part);
        }
        for (suite, data) in self.suites.iter().enumerate() {
            for part in parts(&data.binaries) {
                if let Some(group) = groups.get_mut(part.path()) {
                    group.suite_parts.push((suite, part));
                }
            }
        }
        for group in groups.values_mut() {
            group.parts.sort_by_key(|part| part.package.bytes());
            group.suite_parts.sort_by_key(|(_, part)| part.package.bytes().as_ptr());
        }
        if let Some(text) = &self.text {
            let mut places = HashMap::new();
            for part in groups.values().flat_map(|group| &group.parts) {
                places.extend(part.package.functions().map(|function| (part.file(&function), part.path())));
            }
            // A text profile knows files but no packages.
            let path = |name: &'s str| places.get(name).copied().unwrap_or_else(|| package_of(name));
            for (name, file) in &text.files {
                groups.entry(path(name)).or_insert_with(|| Group::new(path(name))).texts.push((name, file));
            }
            for (suite, data) in self.suites.iter().enumerate() {
                for (name, file) in data.text.iter().flat_map(|text| &text.files) {
                    if let Some(group) = groups.get_mut(path(name)) {
                        group.suite_texts.push((suite, name, file));
                    }
                }
            }
        }
        groups.into_values().filter(|group| is_selected(group.path)).collect()
    }
}

/// A package in all inputs, not yet merged.
pub(crate) struct Group<'a> {
    pub(crate) path: &'a str,
    /// In the binaries. Equal ones are next to each other.
    pub(crate) parts: Vec<Part<'a>>,
    /// Its files in the text profiles.
    pub(crate) texts: Vec<(&'a str, &'a TextFileCounts)>,
    /// In the binaries of each suite, by its number.
    pub(crate) suite_parts: Vec<(usize, Part<'a>)>,
    /// Its files in the text profiles of each suite.
    pub(crate) suite_texts: Vec<(usize, &'a str, &'a TextFileCounts)>,
}

/// A package in one binary.
pub(crate) struct Part<'a> {
    counted: &'a BinaryCounts<'a>,
    index: usize,
    pub(crate) package: &'a Package<'a>,
}

impl<'a> Part<'a> {
    pub(crate) fn path(&self) -> &'a str {
        self.counted.path(self.index)
    }

    pub(crate) fn file(&self, function: &Function<'_>) -> &'a str {
        self.counted.file(self.index, function)
    }

    /// The counts of its functions, as [`BinaryCounts::counts`] gives them.
    pub(crate) fn counts(
        &self,
    ) -> impl Iterator<Item = impl ExactSizeIterator<Item = u32> + use<'a>> + use<'a> {
        self.counted.counts(self.index)
    }
}

/// The packages of all binaries.
fn parts<'a>(binaries: &'a [BinaryCounts<'a>]) -> impl Iterator<Item = Part<'a>> {
    binaries.iter().flat_map(|counted| {
        let packages = counted.binary.file.packages.iter().enumerate();
        packages.map(move |(index, package)| Part { counted, index, package })
    })
}

impl<'a> Group<'a> {
    fn new(path: &'a str) -> Self {
        Self { path, parts: Vec::new(), texts: Vec::new(), suite_parts: Vec::new(), suite_texts: Vec::new() }
    }

    /// How many bytes of meta-data it is.
    pub(crate) fn size(&self) -> usize {
        self.parts.iter().map(|part| part.package.bytes().len()).sum()
    }
}
