//! Images: what a container runs, and which programs it has besides.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;

/// An image: the local program that its containers run.
#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) tools: Tools,
    pub(crate) files: Vec<(String, PathBuf)>,
}

impl Image {
    /// An image whose entry point is `program`: a path, or a name to be found among the image's tools.
    pub fn new(program: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            tools: Tools::all(),
            files: Vec::new(),
        }
    }

    /// The entry point's arguments, which a container's `args` replace.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// The programs the image has besides its entry point; all of the host's by default.
    #[must_use]
    pub fn tools(mut self, tools: Tools) -> Self {
        self.tools = tools;
        self
    }

    /// Puts a host file at an absolute path in the image, for `command:` in a manifest and for exec.
    #[must_use]
    pub fn file(mut self, in_image: &str, on_host: impl AsRef<Path>) -> Self {
        self.files.push((in_image.to_owned(), on_host.as_ref().to_owned()));
        self
    }
}

/// The programs an image has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tools(pub(crate) Option<BTreeSet<String>>);

impl Tools {
    /// Every program of the host's `PATH`.
    pub fn all() -> Self {
        Self(None)
    }

    /// No program at all, as in an image made from scratch.
    pub fn none() -> Self {
        Self(Some(BTreeSet::new()))
    }

    /// Only these programs, such as `tar`; `sh` brings its built-in `kill` along, as everywhere.
    pub fn only<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self(Some(names.into_iter().map(Into::into).collect()))
    }
}

/// The images there are, by name.
#[derive(Debug)]
pub(crate) struct Images {
    known: Mutex<BTreeMap<String, Image>>,
    changed: watch::Sender<()>,
}

impl Images {
    pub(crate) fn new() -> Self {
        Self { known: Mutex::default(), changed: watch::Sender::new(()) }
    }

    pub(crate) fn put(&self, name: &str, image: Image) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), image);
        self.changed.send_replace(());
    }

    /// The image of this name or, for a name with a digest or tag that is not there, of the name without.
    pub(crate) fn get(&self, name: &str) -> Option<Image> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let tagged = name.split_once('@').map_or(name, |(tagged, _)| tagged);
        // A colon before a slash is a registry's port.
        let bare =
            tagged.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(tagged, |(bare, _)| bare);
        known.get(name).or_else(|| known.get(tagged)).or_else(|| known.get(bare)).cloned()
    }

    /// Told at every image that is put.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_digests_may_be_left_out() {
        let images = Images::new();
        images.put("host:5000/shop/cart", Image::new("any"));
        images.put("cart:v1", Image::new("v1"));
        for (name, expected) in [
            ("host:5000/shop/cart", Some("any")),
            ("host:5000/shop/cart:v2", Some("any")),
            ("host:5000/shop/cart:v2@sha256:00", Some("any")),
            ("cart:v1@sha256:00", Some("v1")),
            ("cart:v2", None),
            ("host", None),
        ] {
            let found = images.get(name).map(|image| image.program);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{name}");
        }
    }
}
