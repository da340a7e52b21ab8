//! What is written is what Go writes.

use covdata::{
    CounterFile, CounterFileBuilder, FileName, MetaFile, Package, PackageBuilder, meta_file,
    meta_file_with_hash,
};
use fs_err as fs;

use crate::fixtures::{FOLDERS, files, folder};

/// Where a package has the hash that the compiler made otherwise than `go tool covdata`.
const HASH: std::ops::Range<usize> = 16..32;

/// A package once more, function by function.
fn rebuilt(package: &Package<'_>) -> Vec<u8> {
    let mut builder = PackageBuilder::new(package.name, package.path, package.module);
    for (number, function) in (0..).zip(package.functions()) {
        let (name, file) = (package.string(function.name), package.string(function.file));
        assert_eq!(builder.add(name, file, function.literal, function.units()), number);
    }
    builder.finish().expect("a small package")
}

/// As `go tool covdata merge -pcombine` made it.
#[test]
fn combined_meta_data_is_gos_to_the_byte() {
    let name = "covmeta.9ea5d1d942e8066f49b9341f0b5d58ea";
    let bytes = fs::read(folder("combined").join(name)).unwrap();
    let file = MetaFile::parse(&bytes).unwrap();
    let packages: Vec<Vec<u8>> = file.packages.iter().map(rebuilt).collect();
    let packages: Vec<&[u8]> = packages.iter().map(Vec::as_slice).collect();
    let (hash, written) = meta_file(&packages, file.mode, file.granularity);
    assert_eq!((FileName::Meta { hash }.to_string().as_str(), written), (name, bytes));
}

#[test]
fn meta_data_of_programs_is_theirs_to_the_byte() {
    for (name, bytes) in FOLDERS.into_iter().flat_map(files) {
        let FileName::Meta { hash } = name else { continue };
        let file = MetaFile::parse(&bytes).unwrap();
        for package in &file.packages {
            let (mut rebuilt, bytes) = (rebuilt(package), package.bytes());
            rebuilt[HASH].copy_from_slice(&bytes[HASH]);
            assert_eq!(rebuilt, bytes, "{}", package.path);
        }
        let packages: Vec<&[u8]> = file.packages.iter().map(Package::bytes).collect();
        assert_eq!(meta_file_with_hash(hash, &packages, file.mode, file.granularity), bytes, "{name}");
    }
}

/// A counter file once more, function by function.
fn rewritten(bytes: &[u8]) -> Vec<u8> {
    let file = CounterFile::parse(bytes).expect("a counter file");
    let [segment] = file.segments() else { panic!("{:?}", file.segments()) };
    let mut builder = CounterFileBuilder::new(file.hash(), &segment.args()).expect("few facts");
    for function in file.functions() {
        let (package, number) = (function.package as usize, function.function as usize);
        builder.function(package, number, function.counters()).expect("small numbers");
    }
    builder.finish()
}

/// But for the order of the facts about the process, which Go does not fix.
#[test]
fn counters_of_programs_are_theirs() {
    for (name, bytes) in FOLDERS.into_iter().flat_map(files) {
        let FileName::Counters { .. } = name else { continue };
        let rewritten = rewritten(&bytes);
        // The header, the sizes of what follows, and the footer.
        let ends = |bytes: &[u8]| (bytes.len(), bytes[..48].to_vec(), bytes[bytes.len() - 16..].to_vec());
        assert_eq!(ends(&rewritten), ends(&bytes), "{name}");
        let [written, theirs] = [&rewritten, &bytes].map(|bytes| CounterFile::parse(bytes).unwrap());
        let segment = |file: &CounterFile<'_>| {
            let [segment] = file.segments() else { panic!("{name}") };
            (segment.args(), segment.payload().to_vec(), segment.function_count())
        };
        assert_eq!((written.hash(), segment(&written)), (theirs.hash(), segment(&theirs)), "{name}");
    }
}
