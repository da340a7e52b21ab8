//! The names of coverage files.
//!
//! All but one are Go's. Go: `internal/coverage/defs.go` (`MetaFilePref`, `CounterFileTempl`) and, for temporary files,
//! `internal/coverage/cfile/emit.go`. Strict, where Go's own tools take any text for the hash: a name that Go
//! would not write was made by something else.

use std::fmt;
use std::str::FromStr;

use crate::{Error, MetaHash};

/// The base name of a coverage file, parsed. [`Display`](fmt::Display) gives the same name back.
///
/// Another kind of file would be a new major version of this crate: a program that treats each kind of file should not
/// build before it treats the new one too. A wildcard would lose these files silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// `covmeta.<hash>`
    Meta {
        /// The binary.
        hash: MetaHash,
    },
    /// `covcounters.<hash>.<pid>.<nanos>`
    Counters {
        /// The binary.
        hash: MetaHash,
        /// The process, as numbered inside its container.
        pid: u32,
        /// When they were written, in nanoseconds since 1970-01-01 UTC.
        nanos: u64,
    },
    /// `coverprofile.<pid>.<nanos>`: a text profile. Go lets the user choose its name; podcov-agent gives it this one,
    /// so that several can be in one folder.
    Text {
        /// The process that wrote it, as numbered inside its container.
        pid: u32,
        /// When that process had ended, in nanoseconds since 1970-01-01 UTC.
        nanos: u64,
    },
    /// `tmp.covmeta.<hash><nanos>`, without a dot between the two: a write in progress, or one that was cut
    /// off.
    TemporaryMeta {
        /// The binary.
        hash: MetaHash,
        /// When the write began, in nanoseconds since 1970-01-01 UTC.
        nanos: u64,
    },
    /// `tmp.covcounters.<hash>.<pid>.<nanos>`: a write in progress, or one that was cut off.
    TemporaryCounters {
        /// The binary.
        hash: MetaHash,
        /// The process, as numbered inside its container.
        pid: u32,
        /// When the write began, in nanoseconds since 1970-01-01 UTC.
        nanos: u64,
    },
}

impl FileName {
    /// The hash of the binary that the file belongs to; `None` for a text profile, whose name has no hash.
    #[must_use]
    pub fn hash(&self) -> Option<MetaHash> {
        match *self {
            Self::Meta { hash }
            | Self::Counters { hash, .. }
            | Self::TemporaryMeta { hash, .. }
            | Self::TemporaryCounters { hash, .. } => Some(hash),
            Self::Text { .. } => None,
        }
    }

    /// Whether the file's writer has not finished.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::TemporaryMeta { .. } | Self::TemporaryCounters { .. })
    }

    /// Whether a base name starts like that of a coverage file, valid or not. Files with other names are none of podcov's
    /// business.
    #[must_use]
    pub fn looks_like_one(base: &str) -> bool {
        let base = base.strip_prefix("tmp.").unwrap_or(base);
        // People use names such as `coverprofile.out` for text profiles of their own, and CI jobs `coverprofile.1.out`.
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let numbers = base.strip_prefix("coverprofile.").and_then(|rest| rest.split_once('.'));
        let text = numbers.is_some_and(|(pid, nanos)| is_number(pid) && is_number(nanos));
        text || ["covmeta.", "covcounters."].iter().any(|start| base.starts_with(start))
    }
}

impl FromStr for FileName {
    type Err = Error;

    /// Parses a base name, without folders.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] for any name that neither Go nor podcov-agent would give.
    fn from_str(base: &str) -> Result<Self, Error> {
        parse(base).ok_or(Error::Name)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta { hash } => write!(f, "covmeta.{hash}"),
            Self::Counters { hash, pid, nanos } => write!(f, "covcounters.{hash}.{pid}.{nanos}"),
            Self::Text { pid, nanos } => write!(f, "coverprofile.{pid}.{nanos}"),
            Self::TemporaryMeta { hash, nanos } => write!(f, "tmp.covmeta.{hash}{nanos}"),
            Self::TemporaryCounters { hash, pid, nanos } => write!(f, "tmp.covcounters.{hash}.{pid}.{nanos}"),
        }
    }
}

fn parse(base: &str) -> Option<FileName> {
    let (temporary, base) = match base.strip_prefix("tmp.") {
        Some(rest) => (true, rest),
        None => (false, base),
    };
    if let Some(rest) = base.strip_prefix("covmeta.") {
        let (hash, rest) = hash(rest)?;
        return match (temporary, rest) {
            (false, "") => Some(FileName::Meta { hash }),
            (true, nanos) => Some(FileName::TemporaryMeta { hash, nanos: number(nanos)? }),
            (false, _) => None,
        };
    }
    if let Some(rest) = base.strip_prefix("coverprofile.") {
        let (pid, nanos) = process(rest)?;
        return if temporary { None } else { Some(FileName::Text { pid, nanos }) };
    }
    let (hash, rest) = hash(base.strip_prefix("covcounters.")?)?;
    let (pid, nanos) = process(rest.strip_prefix('.')?)?;
    Some(if temporary {
        FileName::TemporaryCounters { hash, pid, nanos }
    } else {
        FileName::Counters { hash, pid, nanos }
    })
}

/// `<pid>.<nanos>`
fn process(text: &str) -> Option<(u32, u64)> {
    let (pid, nanos) = text.split_once('.')?;
    Some((number(pid)?.try_into().ok()?, number(nanos)?))
}

/// Splits 32 lower-case hexadecimal digits off the front.
fn hash(text: &str) -> Option<(MetaHash, &str)> {
    let (digits, rest) = text.split_at_checked(32)?;
    let mut hash = [0; 16];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().as_chunks::<2>().0) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some((MetaHash(hash), rest))
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// A decimal number as Go's `%d` writes it: digits only, no leading zero.
fn number(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "12ad8790a9ed64d3c04d3959e30b62ff";
    const HASH: MetaHash = MetaHash([
        0x12, 0xad, 0x87, 0x90, 0xa9, 0xed, 0x64, 0xd3, 0xc0, 0x4d, 0x39, 0x59, 0xe3, 0x0b, 0x62, 0xff,
    ]);

    #[test]
    fn names_that_go_writes() {
        let (pid, nanos) = (7998, 1_795_224_300_594_803_693);
        for (text, name) in [
            (format!("covmeta.{HEX}"), FileName::Meta { hash: HASH }),
            (
                format!("covcounters.{HEX}.7998.1795224300594803693"),
                FileName::Counters { hash: HASH, pid, nanos },
            ),
            (format!("tmp.covmeta.{HEX}1795224300594803693"), FileName::TemporaryMeta { hash: HASH, nanos }),
            (
                format!("tmp.covcounters.{HEX}.7998.1795224300594803693"),
                FileName::TemporaryCounters { hash: HASH, pid, nanos },
            ),
        ] {
            assert_eq!(text.parse(), Ok(name));
            assert_eq!(name.to_string(), text);
            assert_eq!(name.hash(), Some(HASH));
            assert_eq!(name.is_temporary(), text.starts_with("tmp."));
        }
    }

    #[test]
    fn names_of_text_profiles() {
        let text = "coverprofile.7.1795224300594803693";
        let name = FileName::Text { pid: 7, nanos: 1_795_224_300_594_803_693 };
        assert_eq!(text.parse(), Ok(name));
        assert_eq!(name.to_string(), text);
        assert_eq!((name.hash(), name.is_temporary()), (None, false));
        for wrong in ["coverprofile.7", "coverprofile.07.1", "tmp.coverprofile.7.1", "coverprofile.7.1.txt"] {
            assert_eq!(wrong.parse::<FileName>(), Err(Error::Name), "{wrong:?}");
        }
    }

    #[test]
    fn names_of_other_peoples_profiles() {
        for other in [
            "coverprofile.out",
            "coverprofile.1.out",
            "coverprofile.1",
            "coverprofile.1.2.3",
            "coverprofile.a.1",
        ] {
            assert!(!FileName::looks_like_one(other), "{other}");
        }
        assert!(FileName::looks_like_one("coverprofile.7.1795224300594803693"));
        assert!(FileName::looks_like_one("coverprofile.07.1"));
    }

    #[test]
    fn names_that_go_does_not_write() {
        let upper = HEX.to_uppercase();
        for text in [
            "".to_owned(),
            "covmeta".to_owned(),
            "covmeta.".to_owned(),
            format!("covmeta.{upper}"),
            format!("covmeta.{}", &HEX[1..]),
            format!("covmeta.{HEX}0"),
            format!("covmeta.{HEX}.gz"),
            format!("covmeta.{}é", &HEX[1..]),
            format!("./covmeta.{HEX}"),
            format!("tmp.covmeta.{HEX}"),
            format!("tmp.tmp.covmeta.{HEX}1"),
            format!("covcounters.{HEX}"),
            format!("covcounters.{HEX}.1"),
            format!("covcounters.{HEX}.1."),
            format!("covcounters.{HEX}..1"),
            format!("covcounters.{HEX}.01.1"),
            format!("covcounters.{HEX}.-1.1"),
            format!("covcounters.{HEX}.+1.1"),
            format!("covcounters.{HEX}.4294967296.1"),
            format!("covcounters.{HEX}.1.18446744073709551616"),
            format!("covcounters.{HEX}.1.1.1"),
            format!("covcounters.{upper}.1.1"),
            format!("covcounters.{HEX}.1.1\n"),
        ] {
            assert_eq!(text.parse::<FileName>(), Err(Error::Name), "{text:?}");
        }
    }
}
