//! A bounds-checked reader over a byte slice.
//!
//! Go's counterpart is `internal/coverage/slicereader`, which panics at the end of the data.

use crate::Error;

/// A position in a file. Errors carry it, so a part of a file is read through a cursor that starts inside the
/// file ([`Cursor::part`]), not through one over a sub-slice.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.data.len() - self.position
    }

    /// A cursor over the next `len` bytes, which are skipped here.
    pub(crate) fn part(&mut self, len: usize, what: &'static str) -> Result<Self, Error> {
        let position = self.position;
        self.bytes(len, what)?;
        Ok(Self { data: &self.data[..self.position], position })
    }

    /// The bytes from the position on.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.data[self.position..]
    }

    /// Skips bytes of [`rest`](Self::rest).
    #[inline]
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.position = (self.position + bytes).min(self.data.len());
    }

    /// The bytes that were read since a copy of this cursor was made.
    pub(crate) fn since(&self, earlier: &Self) -> &'a [u8] {
        &self.data[earlier.position..self.position]
    }

    pub(crate) fn bytes(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Error> {
        let rest = &self.data[self.position..];
        let bytes = rest.get(..len).ok_or_else(|| self.cut_off(what))?;
        self.position += len;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let rest = &self.data[self.position..];
        let array = rest.first_chunk().ok_or_else(|| self.cut_off(what))?;
        self.position += N;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Error> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// Reads a ULEB128 number. Nearly all of a file consists of these. Go's own writer never exceeds 32
    /// bits; Go's reader would drop the bits above.
    #[inline(always)]
    pub(crate) fn uleb(&mut self, what: &'static str) -> Result<u32, Error> {
        match self.data[self.position..] {
            [a, ..] if a < 0x80 => {
                self.position += 1;
                Ok(u32::from(a))
            }
            // Most line numbers have two bytes.
            [a, b, ..] if b < 0x80 => {
                self.position += 2;
                Ok(u32::from(a & 0x7f) | u32::from(b) << 7)
            }
            // The position is passed by value, so that it can stay in a register.
            _ => {
                let (value, position) = Self::long_uleb(self.data, self.position, what)?;
                self.position = position;
                Ok(value)
            }
        }
    }

    /// The next `count` ULEB128 numbers, from one to eight, if each is of one byte and eight bytes are left: the
    /// first in the lowest byte, and zeros above the last.
    #[inline(always)]
    pub(crate) fn short_ulebs(&mut self, count: usize) -> Option<u64> {
        let bytes = u64::from_le_bytes(*self.data[self.position..].first_chunk()?);
        let bytes = bytes & (u64::MAX >> (64 - 8 * count));
        (bytes & 0x8080_8080_8080_8080 == 0).then(|| {
            self.position += count;
            bytes
        })
    }

    /// Skips ULEB128 numbers, with the checks of [`uleb`](Self::uleb).
    pub(crate) fn skip_ulebs(&mut self, mut count: usize, what: &'static str) -> Result<(), Error> {
        const HIGHEST: u64 = 0x8080_8080_8080_8080;
        while count > 0 {
            // A number ends where a byte's highest bit is clear, so those in eight bytes are counted at once, unless
            // one is so long that its value might exceed 32 bits.
            if count >= 8
                && let Some(bytes) = self.data[self.position..].first_chunk()
            {
                let goes_on = u64::from_le_bytes(*bytes) & HIGHEST;
                if goes_on & goes_on >> 8 & goes_on >> 16 & goes_on >> 24 == 0 {
                    let ends = !goes_on & HIGHEST;
                    // The bits are counted by multiplying, because not every processor has an instruction for that.
                    count -= ((ends >> 7).wrapping_mul(0x0101_0101_0101_0101) >> 56) as usize;
                    self.position += 8 - ends.leading_zeros() as usize / 8;
                    continue;
                }
            }
            self.uleb(what)?;
            count -= 1;
        }
        Ok(())
    }

    #[cold]
    fn long_uleb(data: &[u8], position: usize, what: &'static str) -> Result<(u32, usize), Error> {
        let rest = &data[position..];
        let mut value = 0;
        for (n, &byte) in rest.iter().take(5).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * n);
            if byte < 0x80 {
                let value = u32::try_from(value).map_err(|_| too_large(position, what))?;
                return Ok((value, position + n + 1));
            }
        }
        Err(if rest.len() < 5 {
            Error::Truncated { offset: position, what }
        } else {
            too_large(position, what)
        })
    }

    /// A string table: a number of strings, then each as its length and bytes
    /// (`internal/coverage/stringtab`).
    pub(crate) fn strings(&mut self) -> Result<Vec<&'a [u8]>, Error> {
        let offset = self.position;
        let count = self.uleb("the number of strings")? as usize;
        // Each string takes a byte at least, so a count beyond what is left is wrong: refused before it is
        // allocated.
        if count > self.left() {
            return Err(Error::malformed(offset, format!("{count} strings in {} bytes", self.left())));
        }
        let mut strings = Vec::with_capacity(count);
        for _ in 0..count {
            let len = self.uleb("a string's length")? as usize;
            strings.push(self.bytes(len, "a string")?);
        }
        Ok(strings)
    }

    /// As [`strings`](Self::strings), as text; `None` if a string is not UTF-8.
    pub(crate) fn texts(&mut self) -> Result<Option<Vec<&'a str>>, Error> {
        let mut table = self.clone();
        let strings = self.strings()?;
        let bytes = self.since(&table);
        // Nearly all strings are short, and a length below 128 is ASCII, so the table as a whole is usually valid
        // UTF-8. Checking it at once is faster than string by string.
        let Ok(text) = str::from_utf8(bytes) else {
            return Ok(strings.into_iter().map(|string| str::from_utf8(string).ok()).collect());
        };
        let start = table.position;
        table.uleb("the number of strings")?;
        let texts = strings.into_iter().map(|string| {
            table.uleb("a string's length").ok()?;
            let at = table.position - start;
            table.skip(string.len());
            text.get(at..at + string.len())
        });
        Ok(texts.collect())
    }

    #[cold]
    fn cut_off(&self, what: &'static str) -> Error {
        Error::Truncated { offset: self.position, what }
    }
}

#[cold]
fn too_large(position: usize, what: &'static str) -> Error {
    Error::malformed(position, format!("{what} exceeds 32 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uleb(bytes: &[u8]) -> Result<u32, Error> {
        Cursor::new(bytes).uleb("it")
    }

    #[test]
    fn uleb128_of_every_length() {
        assert_eq!(uleb(&[0x00]), Ok(0));
        assert_eq!(uleb(&[0x7f]), Ok(127));
        assert_eq!(uleb(&[0x80, 0x01]), Ok(128));
        assert_eq!(uleb(&[0xe5, 0x8e, 0x26]), Ok(624_485)); // the example in the DWARF standard
        assert_eq!(uleb(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
    }

    #[test]
    fn uleb128_leaves_what_follows() {
        let mut cursor = Cursor::new(&[0x80, 0x01, 0x05]);
        assert_eq!((cursor.uleb("a"), cursor.uleb("b"), cursor.left()), (Ok(128), Ok(5), 0));
    }

    #[test]
    fn uleb128_beyond_32_bits_or_the_end() {
        assert!(matches!(uleb(&[0xff, 0xff, 0xff, 0xff, 0x10]), Err(Error::Malformed { .. })));
        assert!(matches!(uleb(&[0x80; 100]), Err(Error::Malformed { .. })));
        for len in 0..5 {
            assert!(matches!(uleb(&[0x80; 5][..len]), Err(Error::Truncated { offset: 0, .. })), "{len}");
        }
    }

    #[test]
    fn skipping_is_reading() {
        let numbers: &[&[u8]] = &[
            &[0x05],
            &[0x80, 0x01],
            &[0xff, 0xff, 0x7f],
            &[0xe5, 0x8e, 0xa6, 0x01],
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
        ];
        for first in 0..numbers.len() {
            for count in 0..40 {
                let picked = (0..count).map(|n| numbers[(first + n * n) % numbers.len()]);
                let bytes: Vec<u8> = picked.flatten().copied().chain([0x80, 0x01]).collect();
                let mut cursor = Cursor::new(&bytes);
                assert_eq!(cursor.skip_ulebs(count, "it"), Ok(()));
                assert_eq!((cursor.uleb("the last"), cursor.left()), (Ok(128), 0), "{first} {count}");
                let mut cursor = Cursor::new(&bytes);
                assert!(matches!(cursor.skip_ulebs(count + 2, "it"), Err(Error::Truncated { .. })));
            }
        }
        let too_large = [&[1; 9][..], &[0xff, 0xff, 0xff, 0xff, 0x10], &[1; 9]].concat();
        assert!(matches!(
            Cursor::new(&too_large).skip_ulebs(19, "it"),
            Err(Error::Malformed { offset: 9, .. })
        ));
    }

    #[test]
    fn a_huge_number_of_strings_is_not_allocated() {
        let mut cursor = Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]);
        assert!(matches!(cursor.strings(), Err(Error::Malformed { offset: 0, .. })));
    }

    #[test]
    fn a_part_ends_before_the_file_and_keeps_its_offsets() {
        let mut cursor = Cursor::new(&[1, 2, 3, 4]);
        cursor.u8("one").unwrap();
        let mut part = cursor.part(2, "two").unwrap();
        part.u8("two").unwrap();
        assert_eq!(part.u32("more"), Err(Error::Truncated { offset: 2, what: "more" }));
        assert_eq!(cursor.u8("four"), Ok(4));
    }
}
