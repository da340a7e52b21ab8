//! What Go's linker notes about a build.
//!
//! Go: `debug/buildinfo`. Since Go 1.18 both texts are in the section itself.

use crate::elf::Executable;
use crate::known::{Known, Stop};

/// What a program's file has about its build: what `go version -m` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildInfo {
    /// The release of Go, as `go1.26.8`.
    pub go: Option<String>,
    /// The path of the main package's module.
    pub module: Option<String>,
    /// The commit that it was built from, if the `go` command noted it.
    pub revision: Option<String>,
    /// Whether it was built with `-cover`; `None` if the file does not say it.
    pub(crate) cover: Option<bool>,
}

const MAGIC: &[u8] = b"\xff Go buildinf:";

/// The size of the header: magic, size of a pointer, flags, and for old releases two addresses.
const HEADER: usize = 32;

/// In the flags: the texts follow the header.
const INLINE: u8 = 2;

/// What is around the modules' text, so that it is found in any file. Go: `infoStart` in `cmd/go/internal/modload`.
const SENTINEL: usize = 16;

impl BuildInfo {
    /// Reads it from a program's file. It is empty if the file does not have it in the way that Go 1.18 or newer writes.
    pub(crate) fn read(executable: &Executable, known: &Known) -> Result<Self, Stop> {
        let Some(section) = executable.section(".go.buildinfo") else { return Ok(Self::default()) };
        let bytes = known.get(section.in_file())?;
        Ok(Self::parse(bytes).unwrap_or_default())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, mut rest) = bytes.split_at_checked(HEADER)?;
        if !header.starts_with(MAGIC) || header[MAGIC.len() + 1] & INLINE == 0 {
            return None;
        }
        let go = String::from_utf8_lossy(text(&mut rest)?).into_owned();
        let modules = text(&mut rest).unwrap_or_default();
        let modules = modules.get(SENTINEL..modules.len().saturating_sub(SENTINEL)).unwrap_or_default();
        let modules = String::from_utf8_lossy(modules);
        let mut info = Self { go: Some(go), cover: Some(false), ..Self::default() };
        for line in modules.lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["mod", path, ..] => info.module = Some(path.to_owned()),
                ["build", "-cover=true"] => info.cover = Some(true),
                ["build", setting] => {
                    if let Some(revision) = setting.strip_prefix("vcs.revision=") {
                        info.revision = Some(revision.to_owned());
                    }
                }
                _ => {}
            }
        }
        Some(info)
    }
}

/// Takes a text from the front: its length as ULEB128, then its bytes.
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut length = 0_usize;
    for shift in (0..usize::BITS - 7).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            let (text, after) = rest.split_at_checked(length)?;
            *rest = after;
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_version_prints() {
        let modules = format!(
            "{0}path\ta.test/m/cmd\nmod\ta.test/m\t(devel)\t\nbuild\t-cover=true\nbuild\tvcs.revision=abc\n{0}",
            "0123456789abcdef"
        );
        let mut bytes = MAGIC.to_vec();
        bytes.extend([8, INLINE]);
        bytes.resize(HEADER, 0);
        bytes.extend(b"\x08go1.26.8");
        assert_eq!(modules.len(), 113);
        bytes.push(113);
        bytes.extend(modules.as_bytes());
        let info = BuildInfo::parse(&bytes).unwrap();
        assert_eq!(info.go.as_deref(), Some("go1.26.8"));
        assert_eq!(info.module.as_deref(), Some("a.test/m"));
        assert_eq!(info.revision.as_deref(), Some("abc"));
        assert_eq!(info.cover, Some(true));
        for length in 0..bytes.len() {
            let _ = BuildInfo::parse(&bytes[..length]);
        }
    }
}
