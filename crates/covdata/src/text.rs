//! Text profiles: what `go test -coverprofile` and `go tool covdata textfmt` write.
//!
//! Go: `EmitTextual` in `internal/coverage/cformat`, read by `golang.org/x/tools/cover`. A line for the mode, then
//! one a block: `file:line.column,line.column statements count`. A block may come several times: `go test ./...`
//! with `-coverpkg` writes it once for each tested package.
//!
//! Unlike Go's reader, this one accepts several profiles concatenated by `cat`, with further lines for the mode.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::{BadLines, Mode, TextError, Unit};

/// A text profile, borrowed from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextProfile<'a> {
    /// What a count counts. Of several modes the latest in the order set, count, atomic.
    pub mode: Mode,
    /// The source files, in the order of the first line of each.
    pub files: Vec<TextFile<'a>>,
    /// The lines that were left out, because they are neither a block nor a mode; `None` if the profile is whole.
    pub bad_lines: Option<BadLines>,
}

/// A source file of a [`TextProfile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile<'a> {
    /// Import path, slash, base name; or a path.
    pub name: &'a str,
    /// Its blocks as they stand in the profile, in any order, and some of them several times.
    pub blocks: Vec<TextBlock>,
}

/// A block of a [`TextFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextBlock {
    /// Where it is, and its number of statements.
    pub unit: Unit,
    /// How often it ran; [`u32::MAX`] for that many or more.
    pub count: u32,
}

impl<'a> TextProfile<'a> {
    /// Parses a profile. Malformed lines are left out, and named in [`bad_lines`](Self::bad_lines).
    ///
    /// # Errors
    ///
    /// [`TextError::NoMode`] if the first line does not name the mode.
    pub fn parse(text: &'a [u8]) -> Result<Self, TextError> {
        // Some editors write a byte order mark at the start.
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        let mut lines =
            text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut mode = lines.next().and_then(mode).ok_or(TextError::NoMode)?;
        let mut files = Vec::<TextFile<'_>>::new();
        let mut numbers = HashMap::<&str, usize>::new();
        let mut current = ("", usize::MAX);
        let mut bad_lines = None;
        for (number, line) in (2..).zip(lines) {
            if line.is_empty() {
                continue;
            }
            let Some((file, block)) = block(line) else {
                match self::mode(line) {
                    Some(another) => mode = mode.max(another),
                    None => {
                        bad_lines.get_or_insert(BadLines { first: number, lines: 0 }).lines += 1;
                    }
                }
                continue;
            };
            if file != current.0 {
                let number = match numbers.entry(file) {
                    Entry::Occupied(entry) => *entry.get(),
                    Entry::Vacant(entry) => {
                        files.push(TextFile { name: file, blocks: Vec::new() });
                        *entry.insert(files.len() - 1)
                    }
                };
                current = (file, number);
            }
            files[current.1].blocks.push(block);
        }
        Ok(Self { mode, files, bad_lines })
    }
}

impl TextBlock {
    /// Writes the block's line: its file, place, number of statements and count, and a newline.
    ///
    /// ```
    /// use covdata::{TextBlock, Unit};
    ///
    /// let unit = Unit { start_line: 3, start_column: 13, end_line: 5, end_column: 2, statements: 2 };
    /// let mut text = b"mode: count\n".to_vec();
    /// TextBlock { unit, count: 7 }.write("example.com/shop/main.go", &mut text);
    /// assert_eq!(text, b"mode: count\nexample.com/shop/main.go:3.13,5.2 2 7\n");
    /// ```
    #[inline]
    pub fn write(&self, file: &str, out: &mut Vec<u8>) {
        let Self { unit, count } = self;
        let Unit { start_line, start_column, end_line, end_column, statements } = *unit;
        out.extend_from_slice(file.as_bytes());
        // The line is built here and then copied at once. It has six numbers of up to ten digits, each after a separator, and
        // a newline; `put` may write one byte more after a number.
        let mut numbers = [0; 6 * 11 + 2];
        let mut len = 0;
        for (before, value) in [
            (b':', start_line),
            (b'.', start_column),
            (b',', end_line),
            (b'.', end_column),
            (b' ', statements),
            (b' ', *count),
        ] {
            numbers[len] = before;
            len = put(value, &mut numbers, len + 1);
        }
        numbers[len] = b'\n';
        out.extend_from_slice(&numbers[..=len]);
    }
}

/// Writes a number at a position, and gives the position after it.
#[inline]
fn put(value: u32, out: &mut [u8], at: usize) -> usize {
    // Leading zeros are dropped.
    let (at, zeros) = match value / 1000 {
        0 => (at, u32::from(value < 100) + u32::from(value < 10)),
        thousands => (put_long(thousands, out, at), 0),
    };
    let digits = DIGITS[value as usize % 1000] >> (8 * zeros);
    out[at..at + 4].copy_from_slice(&digits.to_le_bytes());
    at + 3 - zeros as usize
}

/// As [`put`], for the few numbers of more than three digits. A function of its own keeps `put` small.
#[cold]
fn put_long(value: u32, out: &mut [u8], at: usize) -> usize {
    put(value, out, at)
}

/// The three digits of each number below 1,000, as nearly all are; the first in the lowest byte. With the itoa crate
/// instead, `podcov-report textfmt` takes 1.2 times as much of the processor's time for Kubernetes.
const DIGITS: [u32; 1000] = {
    let mut all = [0; 1000];
    let mut number = 0;
    while number < 1000 {
        let digits = [number / 100, number / 10 % 10, number % 10];
        all[number as usize] = 0x30_3030 | digits[0] | digits[1] << 8 | digits[2] << 16;
        number += 1;
    }
    all
};

fn mode(line: &[u8]) -> Option<Mode> {
    match line.strip_prefix(b"mode: ")?.trim_ascii_end() {
        b"set" => Some(Mode::Set),
        b"count" => Some(Mode::Count),
        b"atomic" => Some(Mode::Atomic),
        _ => None,
    }
}

/// Parses a line from its end, because a file's name may have any characters.
fn block(line: &[u8]) -> Option<(&str, TextBlock)> {
    let (line, count) = last(line, b' ')?;
    let (line, statements) = last(line, b' ')?;
    let (line, end_column) = last(line, b'.')?;
    let (line, end_line) = last(line, b',')?;
    let (line, start_column) = last(line, b'.')?;
    let (file, start_line) = last(line, b':')?;
    let narrow = |value: u64| u32::try_from(value).ok();
    let unit = Unit {
        start_line: narrow(start_line)?,
        start_column: narrow(start_column)?,
        end_line: narrow(end_line)?,
        end_column: narrow(end_column)?,
        statements: narrow(statements)?,
    };
    let file = str::from_utf8(file).ok().filter(|file| !file.is_empty())?;
    Some((file, TextBlock { unit, count: u32::try_from(count).unwrap_or(u32::MAX) }))
}

/// Splits off the last number and the separator before it.
fn last(line: &[u8], before: u8) -> Option<(&[u8], u64)> {
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (line, number) = line.split_at(line.len() - digits);
    let value = number
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    let line = line.strip_suffix(&[before])?;
    // A count that exceeds 64 bits becomes the largest one.
    (digits > 0).then(|| (line, value.unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<String>, Option<BadLines>) {
        let profile = TextProfile::parse(text.as_bytes()).unwrap();
        let lines = profile.files.iter().flat_map(|TextFile { name, blocks }| {
            blocks.iter().map(move |TextBlock { unit: u, count }| {
                let (start, end) = ((u.start_line, u.start_column), (u.end_line, u.end_column));
                format!("{name} {start:?} {end:?} {} {count}", u.statements)
            })
        });
        (lines.collect(), profile.bad_lines)
    }

    #[test]
    fn blocks_are_by_file() {
        let (lines, error) = parse(
            "mode: count\nm/b.go:3.1,4.2 1 2\nm/a.go:9.1,9.5 1 0\nm/b.go:1.10,2.2 3 1\r\nm/b.go:3.1,4.2 1 5\n",
        );
        assert_eq!(
            lines,
            [
                "m/b.go (3, 1) (4, 2) 1 2",
                "m/b.go (1, 10) (2, 2) 3 1",
                "m/b.go (3, 1) (4, 2) 1 5",
                "m/a.go (9, 1) (9, 5) 1 0",
            ]
        );
        assert_eq!(error, None);
    }

    #[test]
    fn names_with_anything_in_them_and_large_counts() {
        let (lines, error) = parse("mode: atomic\nC:/my code/a,b.go:1.2,3.4 5 18446744073709551616\n");
        assert_eq!(lines, ["C:/my code/a,b.go (1, 2) (3, 4) 5 4294967295"]);
        assert_eq!(error, None);
    }

    #[test]
    fn numbers_of_every_length() {
        for value in
            [0, 7, 10, 99, 100, 999, 1_000, 1_001, 10_020, 999_999, 1_000_000, 1_002_003_004, u32::MAX]
        {
            let [start_line, start_column, end_line, end_column, statements] = [value; 5];
            let unit = Unit { start_line, start_column, end_line, end_column, statements };
            let mut line = Vec::new();
            TextBlock { unit, count: value }.write("a.go", &mut line);
            let expected = format!("a.go:{value}.{value},{value}.{value} {value} {value}\n");
            assert_eq!(String::from_utf8(line), Ok(expected));
        }
    }

    #[test]
    fn concatenated_profiles() {
        let profile =
            TextProfile::parse(b"mode: set\na.go:1.1,2.2 1 1\nmode: count\na.go:1.1,2.2 1 4\n").unwrap();
        let counts: Vec<_> = profile.files[0].blocks.iter().map(|block| block.count).collect();
        assert_eq!((profile.mode, profile.files.len(), counts), (Mode::Count, 1, vec![1, 4]));
        assert_eq!(profile.bad_lines, None);
    }

    #[test]
    fn bad_lines_are_left_out_and_named() {
        let good = "mode: set\na.go:1.1,2.2 1 1\n";
        for bad in [
            "a.go:1.1,2.2 1",
            "a.go:1.1,2.2 1 ",
            "a.go:1.1,2.2 1 -1",
            "a.go:1,2 1 1",
            "1.1,2.2 1 1",
            ":1.1,2.2 1 1",
            "a.go:4294967296.1,2.2 1 1",
            "mode: other",
            "nonsense",
            "\u{0}",
        ] {
            let (lines, error) = parse(&format!("{good}{bad}\n{bad}\nb.go:1.1,2.2 1 0\n"));
            assert_eq!(lines.len(), 2, "{bad}");
            assert_eq!(error, Some(BadLines { first: 3, lines: 2 }), "{bad}");
        }
        let message = BadLines { first: 3, lines: 2 }.to_string();
        assert!(message.starts_with("line 3 and 1 more: not `file:line"), "{message}");
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        let plain = TextProfile::parse(b"mode: set\na.go:1.1,2.2 1 1\n");
        assert!(plain.is_ok());
        assert_eq!(TextProfile::parse("\u{feff}mode: set\na.go:1.1,2.2 1 1\n".as_bytes()), plain);
    }

    #[test]
    fn something_else_is_refused() {
        for text in ["", "\n", "mode:", "mode: regonly\n", "a.go:1.1,2.2 1 1\n", "<html>"] {
            assert_eq!(TextProfile::parse(text.as_bytes()), Err(TextError::NoMode), "{text:?}");
        }
    }
}
