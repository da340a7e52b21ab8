//! Where in a bucket the files of one start of one container are.

use std::fmt;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// The part of an object's name between the address's folder and the file's own name: whose file it is. No part is
/// empty or has a character other than letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The run: Skaffold's, or any other name that distinguishes the tests' runs.
    pub run: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// When the agent in it started, in nanoseconds since 1970-01-01 UTC: distinguishes a container from what it was
    /// before a restart.
    pub start: u64,
}

impl Origin {
    /// A text as a part of an object's name.
    #[must_use]
    pub fn part(text: &str) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let part: String = text.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
        // "." and ".." would be folders.
        if part.trim_start_matches('.').is_empty() { format!("_{part}") } else { part }
    }

    /// The object's path, below the address's folder.
    pub(crate) fn path(&self, folder: &Path, name: &str) -> Path {
        let start = self.start.to_string();
        let parts = [&self.run, &self.namespace, &self.pod, &self.container, &start, name];
        parts.into_iter().fold(folder.clone(), Path::join)
    }

    /// The origin and the file's name that an object's path ends in, if it is one of ours.
    pub(crate) fn of(path: &Path) -> Option<(Self, String)> {
        let parts: Vec<_> = path.parts().map(|part| part.as_ref().to_owned()).collect();
        let [.., run, namespace, pod, container, start, name] = &parts[..] else { return None };
        let start = start.parse().ok()?;
        let whole = [run, namespace, pod, container].into_iter().all(|part| Self::part(part) == *part);
        let [run, namespace, pod, container] = [run, namespace, pod, container].map(Clone::clone);
        whole.then(|| (Self { run, namespace, pod, container, start }, name.clone()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, namespace, pod, container, start } = self;
        write!(f, "{run}/{namespace}/{pod}/{container}/{start}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_and_its_path() {
        let origin = Origin {
            run: "run-1".to_owned(),
            namespace: "shop".to_owned(),
            pod: "cart-0".to_owned(),
            container: "app".to_owned(),
            start: 1_795_224_300_594_803_693,
        };
        for folder in ["", "coverage", "a/b"] {
            let path = origin.path(&Path::from(folder), "covmeta.x");
            assert!(path.as_ref().starts_with(folder));
            assert!(path.as_ref().ends_with("run-1/shop/cart-0/app/1795224300594803693/covmeta.x"));
            assert_eq!(Origin::of(&path), Some((origin.clone(), "covmeta.x".to_owned())));
        }
    }

    #[test]
    fn other_objects_have_no_origin() {
        for path in ["", "a/b", "run/ns/pod/c/1", "run/ns/pod/c/x/covmeta.1", "run/n s/pod/c/1/covmeta.1"] {
            assert_eq!(Origin::of(&Path::from(path)), None, "{path}");
        }
    }

    #[test]
    fn any_text_makes_a_part() {
        for (text, part) in
            [("v1.2-rc_3", "v1.2-rc_3"), ("feature/x y", "feature_x_y"), ("", "_"), ("..", "_.."), ("é", "_")]
        {
            assert_eq!(Origin::part(text), part);
            assert_eq!(Origin::part(part), part);
        }
    }
}
