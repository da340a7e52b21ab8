use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

const META: &str = "covmeta.62ff98db792937fd37f18adced298d04";
const COUNTERS: &str = "covcounters.62ff98db792937fd37f18adced298d04.19644.1795224885693041480";

const RULES: Rules = Rules { archive: 1 << 20, file: 1 << 16, entries: 100, sanitize: false };

/// A real program's file, from covdata's fixtures.
fn fixture(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../covdata/tests/fixtures/atomic");
    fs::read(dir.join(name)).unwrap()
}

fn header(name: &str, size: usize, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    // The library would refuse hostile names, so they are written as they are.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

/// An archive of these entries, with its end.
fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, bytes) in entries {
        builder.append(&header(name, bytes.len(), *kind), *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn honest() -> Vec<u8> {
    let (meta, counters) = (fixture(META), fixture(COUNTERS));
    archive(&[
        (META, EntryType::Regular, meta.as_slice()),
        (COUNTERS, EntryType::Regular, counters.as_slice()),
    ])
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Unpacks into a folder of its own, in a folder where nothing else may appear.
fn unpack_into(dir: &Path, bytes: &[u8], rules: Rules) -> Unpacked {
    let folder = dir.join("folder");
    fs::create_dir_all(&folder).unwrap();
    let unpacked = unpack(bytes, &folder, rules, true).unwrap();
    let around: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(around, ["folder"], "nothing lands outside the folder");
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert_eq!(
            fs::read(folder.join(&name)).unwrap(),
            fixture(&name),
            "{name} is just the program's file"
        );
        assert!(unpacked.files.iter().any(|f| f.name == name), "{name} is accounted for");
    }
    unpacked
}

fn unpack_alone(bytes: &[u8]) -> Unpacked {
    unpack_into(tempfile::tempdir().unwrap().path(), bytes, RULES)
}

#[test]
fn an_honest_archive_plain_and_gzipped() {
    for (bytes, gzip) in [(honest(), false), (gzipped(&honest()), true)] {
        let unpacked = unpack_alone(&bytes);
        assert_eq!(unpacked.gzip, gzip);
        assert_eq!(unpacked.cut, None);
        assert!(unpacked.refused.is_empty() && unpacked.corrupt.is_empty());
        assert_eq!(unpacked.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), [META, COUNTERS]);
        // sha256sum of the fixture.
        let known = "a9a526b72ef6455bee9ff74cd8271e780a444ad89482ddb0e47391056d88a4fb";
        assert_eq!(unpacked.files[0].sha256, known);
    }
}

#[test]
fn a_cut_at_every_offset_is_noticed_and_never_yields_a_wrong_file() {
    for whole in [honest(), gzipped(&honest())] {
        for end in 0..whole.len() {
            // What is wrong with a file itself, `unpack_into` sees.
            let unpacked = unpack_alone(&whole[..end]);
            assert!(unpacked.cut.is_some(), "a cut after {end} of {} bytes", whole.len());
        }
    }
}

#[test]
fn hostile_entries_are_refused_by_name_and_the_good_ones_kept() {
    let meta = fixture(META);
    let meta = meta.as_slice();
    let good = (META, EntryType::Regular, meta);
    let refused = |entry: (&str, EntryType, &[u8])| {
        let unpacked = unpack_alone(&archive(&[entry, good]));
        assert_eq!(unpacked.files.len(), 1);
        assert_eq!(unpacked.cut, None);
        let [refusal] = unpacked.refused.try_into().unwrap();
        refusal
    };
    let name = |bad: &str| format!("{bad} is no name of a coverage file");
    for bad in [
        "../x",
        "/etc/passwd",
        "a/b",
        "notes.txt",
        "covmeta.xyz",
        "..",
        "covmeta.62ff98db792937fd37f18adced298d04/",
    ] {
        assert_eq!(refused((bad, EntryType::Regular, meta)), name(bad));
    }
    let up = format!("../{META}");
    assert_eq!(refused((&up, EntryType::Regular, meta)), name(&up));
    let down = format!("sub/{META}");
    assert_eq!(refused((&down, EntryType::Regular, meta)), name(&down));
    for (kind, word) in [
        (EntryType::Symlink, "Symlink"),
        (EntryType::Link, "Link"),
        (EntryType::Char, "Char"),
        (EntryType::Block, "Block"),
        (EntryType::Fifo, "Fifo"),
        (EntryType::Directory, "Directory"),
        (EntryType::GNUSparse, "GNUSparse"),
    ] {
        assert_eq!(refused((COUNTERS, kind, &[])), format!("{COUNTERS} is no regular file ({word})"));
    }
}

#[test]
fn a_symlink_and_then_a_file_through_it() {
    let dir = tempfile::tempdir().unwrap();
    let meta = fixture(META);
    let mut link = header(META, 0, EntryType::Symlink);
    link.set_link_name(dir.path().join("outside")).unwrap();
    link.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&link, &[][..]).unwrap();
    builder.append(&header(META, meta.len(), EntryType::Regular), meta.as_slice()).unwrap();
    let unpacked = unpack_into(dir.path(), &builder.into_inner().unwrap(), RULES);
    assert_eq!(unpacked.refused.len(), 1);
    assert!(fs::symlink_metadata(dir.path().join("folder").join(META)).unwrap().is_file());
}

#[test]
fn a_name_that_comes_twice_counts_once() {
    let (meta, other) = (fixture(META), fixture(COUNTERS));
    let unpacked = unpack_alone(&archive(&[
        (META, EntryType::Regular, meta.as_slice()),
        (META, EntryType::Regular, other.as_slice()),
    ]));
    assert_eq!(unpacked.refused, [format!("{META} comes twice")]);
    assert_eq!(unpacked.files.len(), 1);
}

#[test]
fn limits() {
    let with = |bytes: &[u8], rules: Rules| {
        let unpacked = unpack_into(tempfile::tempdir().unwrap().path(), bytes, rules);
        assert_eq!(unpacked.cut, None);
        unpacked.refused
    };
    // 10 GiB announced, and never sent: nobody waits for them, nothing is set aside for them.
    let huge = header(META, 10 << 30, EntryType::Regular).as_bytes().to_vec();
    assert_eq!(with(&huge, RULES), [format!("{META} of 10240 MiB")]);
    assert_eq!(with(&honest(), Rules { entries: 1, ..RULES }), ["an archive of over 1 entries"]);
    let small = Rules { archive: 1 << 20, ..RULES };
    let bomb = gzipped(&archive(&[(META, EntryType::XHeader, &vec![0; 1 << 21])]));
    assert_eq!(with(&bomb, small), ["an archive of over 1 MiB"]);
}

#[test]
fn files_whose_content_is_not_their_names_are_corrupt() {
    let counters = fixture(COUNTERS);
    let half = &counters[..counters.len() / 2];
    let unpacked = unpack_alone(&archive(&[
        (META, EntryType::Regular, &counters),
        (COUNTERS, EntryType::Regular, half),
    ]));
    assert_eq!(unpacked.files, []);
    assert_eq!(unpacked.corrupt.len(), 2);
}

#[test]
fn what_a_folder_holds_besides() {
    let meta = fixture(META);
    let temporary = format!("tmp.{META}1234");
    let bytes = archive(&[
        ("./", EntryType::Directory, &[]),
        ("./notes.txt", EntryType::Regular, b"x"),
        ("./sub/", EntryType::Directory, &[]),
        (&temporary, EntryType::Regular, b"half"),
        (&format!("./{META}"), EntryType::Regular, &meta),
    ]);
    let dir = tempfile::tempdir().unwrap();
    let whole_folder = unpack(&bytes[..], dir.path(), RULES, false).unwrap();
    assert_eq!((whole_folder.files.len(), whole_folder.other), (1, 3));
    assert!(whole_folder.refused.is_empty());
    let link = archive(&[("./x", EntryType::Symlink, &[])]);
    assert_eq!(unpack(&link[..], dir.path(), RULES, false).unwrap().refused.len(), 1);
}

#[test]
fn sanitized_counters_name_no_arguments() {
    let dir = tempfile::tempdir().unwrap();
    unpack(&honest()[..], dir.path(), Rules { sanitize: true, ..RULES }, true).unwrap();
    let before = fixture(COUNTERS);
    let after = fs::read(dir.path().join(COUNTERS)).unwrap();
    let arguments =
        |bytes: &[u8]| covdata::CounterFile::parse(bytes).unwrap().segments()[0].command_line().len();
    assert_eq!((arguments(&before) > 0, arguments(&after)), (true, 0));
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        unpack_alone(&bytes);
    }

    #[test]
    fn a_damaged_archive_never_yields_a_wrong_file(at in 0usize..3072, value in any::<u8>(), gzip in any::<bool>()) {
        let mut bytes = honest();
        // A changed counter in the middle of a counter file is a right file with another count, which nothing can
        // tell (the format has no checksum), so only what is around the contents is damaged here.
        let meta = fixture(META).len();
        let content = |at: usize| (512..512 + meta).contains(&at) || at >= 512 + meta.next_multiple_of(512) + 512;
        prop_assume!(!content(at));
        bytes[at] = value;
        unpack_alone(&if gzip { gzipped(&bytes) } else { bytes });
    }
}

/// As from a container with more files than a command line holds: archive after archive, each compressed by itself.
#[test]
fn several_archives_one_after_the_other() {
    let meta = archive(&[(META, EntryType::Regular, fixture(META).as_slice())]);
    let counters = archive(&[(COUNTERS, EntryType::Regular, fixture(COUNTERS).as_slice())]);
    // As tar writes it: whole records of 20 blocks.
    let record = |mut archive: Vec<u8>| {
        archive.resize(archive.len().next_multiple_of(20 * BLOCK), 0);
        archive
    };
    let plain = [record(meta.clone()), counters.clone()].concat();
    let compressed = [gzipped(&meta), gzipped(&record(counters.clone()))].concat();
    for bytes in [plain.clone(), compressed] {
        let dir = tempfile::tempdir().unwrap();
        let unpacked = unpack_into(dir.path(), &bytes, RULES);
        assert_eq!((&unpacked.cut, unpacked.files.len()), (&None, 2), "{unpacked:?}");
    }
    let twice = unpack_into(tempfile::tempdir().unwrap().path(), &[plain, counters].concat(), RULES);
    assert_eq!(twice.refused, [format!("{COUNTERS} comes twice")]);
    let limited = Rules { entries: 1, ..RULES };
    let both = [meta.clone(), meta].concat();
    let unpacked = unpack_into(tempfile::tempdir().unwrap().path(), &both, limited);
    assert_eq!(unpacked.refused, ["an archive of over 1 entries"]);
}
