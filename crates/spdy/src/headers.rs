//! The headers that a stream opens with: names and values in one zlib stream for each direction, primed with a
//! dictionary (section 2.6.10 of the draft).

use bytes::{Buf, BufMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::Broken;

/// Section 2.6.10.1 of the draft.
const DICTIONARY: &[u8] = include_bytes!("dictionary.bin");

/// The most bytes of one decompressed block of headers.
const MOST: usize = 64 * 1024;

/// Names, in lower case, and values.
pub type Headers = Vec<(String, String)>;

/// Compresses the headers of one direction.
pub(crate) struct Deflater(Compress);

/// Decompresses the headers of the other direction.
pub(crate) struct Inflater(Decompress);

impl Deflater {
    pub(crate) fn new() -> Result<Self, Broken> {
        let mut zlib = Compress::new(Compression::fast(), true);
        zlib.set_dictionary(DICTIONARY).map_err(|e| Broken(e.to_string()))?;
        Ok(Self(zlib))
    }

    pub(crate) fn block(&mut self, headers: &Headers) -> Result<Vec<u8>, Broken> {
        let mut plain = Vec::new();
        plain.put_u32(headers.len() as u32);
        for word in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.put_u32(word.len() as u32);
            plain.put_slice(word.as_bytes());
        }
        let mut packed = Vec::with_capacity(plain.len() + 128);
        let before = self.0.total_in();
        loop {
            let done = (self.0.total_in() - before) as usize;
            let flushed = self.0.compress_vec(&plain[done..], &mut packed, FlushCompress::Sync);
            flushed.map_err(|e| Broken(e.to_string()))?;
            // With room left over, everything has been flushed.
            if packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(128);
        }
    }
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(crate) fn block(&mut self, packed: &[u8]) -> Result<Headers, Broken> {
        let bad = |e: flate2::DecompressError| Broken(format!("headers: {e}"));
        let mut plain = Vec::with_capacity(MOST);
        let before = self.0.total_in();
        loop {
            let done = (self.0.total_in() - before) as usize;
            match self.0.decompress_vec(&packed[done..], &mut plain, FlushDecompress::Sync) {
                Ok(_) => break,
                Err(e) if e.needs_dictionary().is_some() => {
                    self.0.set_dictionary(DICTIONARY).map(drop).map_err(bad)?;
                }
                Err(e) => return Err(bad(e)),
            }
        }
        if plain.len() == MOST {
            return Err(Broken(format!("headers of over {MOST} bytes")));
        }
        read(&plain).ok_or_else(|| Broken("headers that are cut short".to_owned()))
    }
}

fn read(mut plain: &[u8]) -> Option<Headers> {
    let count = plain.try_get_u32().ok()?;
    let mut word = || {
        let length = plain.try_get_u32().ok()? as usize;
        let (word, rest) = plain.split_at_checked(length)?;
        plain = rest;
        Some(String::from_utf8_lossy(word).into_owned())
    };
    (0..count).map(|_| Some((word()?, word()?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn blocks_follow_one_another_in_one_stream() {
        let blocks = [
            headers(&[("streamtype", "error"), ("port", "8080"), ("requestid", "0")]),
            headers(&[("streamtype", "data"), ("port", "8080"), ("requestid", "0")]),
            headers(&[]),
            headers(&[("long", &"x".repeat(10_000))]),
        ];
        let (mut deflater, mut inflater) = (Deflater::new().unwrap(), Inflater::new());
        for block in blocks {
            let packed = deflater.block(&block).unwrap();
            assert_eq!(inflater.block(&packed).unwrap(), block);
        }
    }

    /// What `spdy.Framer` of `github.com/moby/spdystream` v0.5.0 writes for the two streams of a port-forward.
    #[test]
    fn blocks_as_go_writes_them() {
        let blocks: [(&[u8], &str); 2] = [
            (
                b"\x78\xf9\xe3\xc6\xa7\xc2\x02\x25\x3a\x70\x3a\x2b\x29\x4a\x4d\xcc\x85\x16\x25\xac\xa9\xa0\x80\x86\x14\
                  \xcb\x45\xe0\x1c\x60\x61\x60\x61\xc0\xc0\xc0\xc0\x59\x04\x89\xc6\x4c\x50\xf2\x66\x34\x00\x00\x00\x00\
                  \xff\xff",
                "error",
            ),
            (b"\xc2\xaa\x19\x54\x0e\x25\x12\xd6\x0b\x00\x00\x00\xff\xff", "data"),
        ];
        let mut inflater = Inflater::new();
        for (block, kind) in blocks {
            let mut read = inflater.block(block).unwrap();
            // Go writes the pairs in no order.
            read.sort();
            assert_eq!(read, headers(&[("port", "8080"), ("requestid", "0"), ("streamtype", kind)]));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_headers_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
            let _ = Inflater::new().block(&bytes);
            let _ = read(&bytes);
        }
    }
}
