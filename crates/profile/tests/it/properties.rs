//! Counter files of one binary give together what each alone gives, whatever is wrong with one of them.

use covdata::FileName;
use podcov_profile::Builder;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::fixtures::{files, meta};
use crate::go;

/// The text profile of some files.
fn text_of(builder: Builder) -> String {
    go::text(&go::read(builder).0)
}

/// Counter files of one binary, all at once and each alone. The others are compared with the first one. A malformed file
/// must not change the result, however much of it was added before the error.
fn together_is_apart(counters: &[Vec<u8>]) {
    let (meta, meta_bytes) = meta("count", "one");
    let FileName::Meta { hash } = meta else { panic!("{meta}") };
    let builder_of = |counters: &[Vec<u8>]| {
        let mut builder = Builder::new();
        builder.add_file(meta.to_string(), &meta_bytes);
        for (pid, bytes) in (1..).zip(counters) {
            builder.add_file(FileName::Counters { hash, pid, nanos: 1 }.to_string(), bytes);
        }
        builder
    };
    let mut apart = Builder::new();
    for (number, bytes) in counters.iter().enumerate() {
        apart.add_text_bytes(format!("{number}.out"), text_of(builder_of(std::slice::from_ref(bytes))));
    }
    assert_eq!(text_of(builder_of(counters)), text_of(apart));
}

/// The coverage files of a run of command one with one argument.
fn counters_of_one() -> Vec<u8> {
    let hash = meta("count", "one").0.hash();
    let of_one =
        |name: &FileName| matches!(name, FileName::Counters { hash: other, .. } if Some(*other) == hash);
    files("count").into_iter().find(|(name, _)| of_one(name)).expect("its counters").1
}

#[test]
fn a_file_that_breaks_off_leaves_no_trace() {
    let whole = counters_of_one();
    for offset in 0..whole.len() {
        for value in [0x00, 0x01, 0x7f, 0xff] {
            let mut changed = whole.clone();
            changed[offset] = value;
            together_is_apart(&[whole.clone(), changed.clone(), whole.clone(), whole.clone()]);
            together_is_apart(&[changed, whole.clone(), whole.clone(), whole.clone()]);
        }
    }
}

proptest! {
    #[test]
    fn files_of_one_binary(changes: [Vec<(Index, u8)>; 5]) {
        let files = changes.map(|changes| {
            let mut bytes = counters_of_one();
            for (offset, value) in changes.into_iter().take(2) {
                let offset = offset.index(bytes.len());
                bytes[offset] = value;
            }
            bytes
        });
        together_is_apart(&files);
    }
}
