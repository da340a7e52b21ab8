//! Frames: eight bytes of head, then the payload (section 2.2 of the draft).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Broken;

const CONTROL: u16 = 0x8000;
const VERSION: u16 = 3;
const FIN: u8 = 1;
const HEAD: usize = 8;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// The most a control frame may hold: headers of a few hundred bytes.
const MOST_CONTROL: usize = 64 * 1024;

/// The stream is no longer needed (section 2.6.3).
const CANCEL: u32 = 5;

/// A frame from the other end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The other end opens a stream; the headers are compressed.
    Open {
        stream: u32,
        fin: bool,
        headers: Bytes,
    },
    /// The other end accepts the stream; with `fin` it will send nothing.
    Reply {
        stream: u32,
        fin: bool,
    },
    /// The stream is over, both ways.
    Reset {
        stream: u32,
        status: u32,
    },
    Ping(u32),
    /// The other end accepts no more streams.
    GoAway,
    Data {
        stream: u32,
        fin: bool,
        data: Bytes,
    },
    /// Nothing that matters here: settings, windows, more headers.
    Other,
}

/// Takes the first frame out of `buffer`; `None` while it is not whole.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, Broken> {
    let Some(mut head) = buffer.get(..HEAD) else { return Ok(None) };
    let first = head.get_u32();
    let flags_and_length = head.get_u32();
    let fin = (flags_and_length >> 24) as u8 & FIN != 0;
    let length = (flags_and_length & 0x00ff_ffff) as usize;
    let [version, kind] = [(first >> 16) as u16, first as u16];
    let control = version & CONTROL != 0;
    if control && length > MOST_CONTROL {
        return Err(Broken(format!("a control frame of {length} bytes")));
    }
    if buffer.len() < HEAD + length {
        buffer.reserve(HEAD + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEAD);
    let mut payload = buffer.split_to(length).freeze();
    if !control {
        return Ok(Some(Frame::Data { stream: first, fin, data: payload }));
    }
    if version != CONTROL | VERSION {
        return Err(Broken(format!("version {} of SPDY", version & !CONTROL)));
    }
    let short = |_| Broken(format!("a control frame of type {kind} that is too short"));
    let frame = match kind {
        SYN_STREAM => {
            let stream = id(&mut payload).map_err(short)?;
            // The stream it belongs to, its priority and slot: none of them is used.
            if payload.len() < 6 {
                return Err(short(bytes::TryGetError { requested: 6, available: payload.len() }));
            }
            payload.advance(6);
            Frame::Open { stream, fin, headers: payload }
        }
        SYN_REPLY => Frame::Reply { stream: id(&mut payload).map_err(short)?, fin },
        RST_STREAM => Frame::Reset {
            stream: id(&mut payload).map_err(short)?,
            status: payload.try_get_u32().map_err(short)?,
        },
        PING => Frame::Ping(payload.try_get_u32().map_err(short)?),
        GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    };
    Ok(Some(frame))
}

fn id(payload: &mut Bytes) -> Result<u32, bytes::TryGetError> {
    Ok(payload.try_get_u32()? & 0x7fff_ffff)
}

pub(crate) fn put_open(out: &mut BytesMut, stream: u32, fin: bool, headers: &[u8]) {
    put_control(out, SYN_STREAM, fin, 10 + headers.len());
    out.put_u32(stream);
    out.put_bytes(0, 6);
    out.put_slice(headers);
}

pub(crate) fn put_reply(out: &mut BytesMut, stream: u32, headers: &[u8]) {
    put_control(out, SYN_REPLY, false, 4 + headers.len());
    out.put_u32(stream);
    out.put_slice(headers);
}

/// The frame that cancels a stream.
pub(crate) fn put_cancel(out: &mut BytesMut, stream: u32) {
    put_control(out, RST_STREAM, false, 8);
    out.put_u32(stream);
    out.put_u32(CANCEL);
}

pub(crate) fn put_ping(out: &mut BytesMut, id: u32) {
    put_control(out, PING, false, 4);
    out.put_u32(id);
}

/// At most 2^24 - 1 bytes.
pub(crate) fn put_data(out: &mut BytesMut, stream: u32, fin: bool, data: &[u8]) {
    out.put_u32(stream);
    put_length(out, fin, data.len());
    out.put_slice(data);
}

fn put_control(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(CONTROL | VERSION);
    out.put_u16(kind);
    put_length(out, fin, length);
}

fn put_length(out: &mut BytesMut, fin: bool, length: usize) {
    let flags = if fin { FIN } else { 0 };
    out.put_u32(u32::from(flags) << 24 | (length as u32 & 0x00ff_ffff));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Written by hand from the draft, section by section.
    fn samples() -> Vec<(&'static [u8], Frame)> {
        vec![
            (
                b"\x80\x03\x00\x01\x01\x00\x00\x0c\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00hd",
                Frame::Open { stream: 7, fin: true, headers: Bytes::from_static(b"hd") },
            ),
            (b"\x80\x03\x00\x02\x00\x00\x00\x05\x00\x00\x00\x07h", Frame::Reply { stream: 7, fin: false }),
            (
                b"\x80\x03\x00\x03\x00\x00\x00\x08\x00\x00\x00\x07\x00\x00\x00\x05",
                Frame::Reset { stream: 7, status: 5 },
            ),
            (b"\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x09", Frame::Ping(9)),
            (b"\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x07\x00\x00\x00\x00", Frame::GoAway),
            (b"\x80\x03\x00\x04\x00\x00\x00\x04\x00\x00\x00\x00", Frame::Other),
            (
                b"\x00\x00\x00\x07\x01\x00\x00\x03abc",
                Frame::Data { stream: 7, fin: true, data: Bytes::from_static(b"abc") },
            ),
        ]
    }

    #[test]
    fn frames_are_read_wherever_they_are_cut() {
        for (bytes, frame) in samples() {
            for cut in 0..bytes.len() {
                assert_eq!(take(&mut BytesMut::from(&bytes[..cut])), Ok(None), "{frame:?} at {cut}");
            }
            let mut buffer = BytesMut::from(&[bytes, &b"next"[..]].concat()[..]);
            assert_eq!(take(&mut buffer).unwrap().as_ref(), Some(&frame));
            assert_eq!(&buffer[..], b"next");
        }
    }

    #[test]
    fn frames_are_written_as_the_draft_has_them() {
        let mut out = BytesMut::new();
        put_open(&mut out, 7, true, b"hd");
        put_reply(&mut out, 7, b"h");
        put_cancel(&mut out, 7);
        put_ping(&mut out, 9);
        put_data(&mut out, 7, true, b"abc");
        let expected: Vec<u8> =
            [0, 1, 2, 3, 6].iter().flat_map(|&n: &usize| samples()[n].0).copied().collect();
        assert_eq!(&out[..], &expected[..]);
    }

    #[test]
    fn what_is_no_frame_is_said() {
        let of = |bytes: &[u8]| take(&mut BytesMut::from(bytes)).unwrap_err().0;
        assert_eq!(of(b"\x80\x02\x00\x06\x00\x00\x00\x00"), "version 2 of SPDY");
        assert_eq!(of(b"\x80\x03\x00\x06\x00\x00\x00\x00"), "a control frame of type 6 that is too short");
        assert_eq!(
            of(b"\x80\x03\x00\x01\x00\x00\x00\x04\0\0\0\x01"),
            "a control frame of type 1 that is too short"
        );
        assert_eq!(of(b"\x80\x03\x00\x06\x00\xff\xff\xff"), "a control frame of 16777215 bytes");
    }

    proptest! {
        #[test]
        fn any_bytes_give_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let mut before = buffer.len();
            while let Ok(Some(_)) = take(&mut buffer) {
                prop_assert!(buffer.len() < before);
                before = buffer.len();
            }
        }
    }
}
