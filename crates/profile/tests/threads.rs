//! If the system starts no threads, as in a container whose limit on processes is reached, large files are still checked and
//! read. No thread is left behind anywhere.
//!
//! A program of its own, without the test harness, whose threads would count too.

use std::path::Path;
use std::process::Command;
use std::thread;

use covdata::{FileName, MetaHash, check};
use podcov_profile::Builder;

/// The size of a new thread's stack. With this one, which no machine has, none can be started.
const STACK: (&str, &str) = ("RUST_MIN_STACK", "281474976710656");

fn main() {
    if std::env::var(STACK.0).as_deref() == Ok(STACK.1) {
        assert!(thread::Builder::new().spawn(|| ()).is_err(), "this process can start threads");
        check_and_read();
        return;
    }
    check_and_read();
    #[cfg(target_os = "linux")]
    assert_eq!(fs_err::read_dir("/proc/self/task").expect("this process's threads").count(), 1);
    let this = std::env::current_exe().expect("this program");
    let status = Command::new(this).env(STACK.0, STACK.1).status().expect("this program can be started");
    assert!(status.success(), "without threads: {status}");
}

/// Checks and reads a meta-data file of more than 256 KiB, from which on threads are worth it, with its counters.
fn check_and_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../covdata/tests/fixtures/count");
    let mut builder = Builder::new();
    for entry in fs_err::read_dir(&fixture).expect("a fixture") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let bytes = fs_err::read(&path).expect("a file");
        match name.parse::<FileName>() {
            Ok(name @ FileName::Meta { hash }) => {
                let large = repeat_packages(hash, &bytes);
                assert!(large.len() > 256 << 10);
                assert_eq!(check(&name, &large), Ok(()));
                builder.add_file(name.to_string(), large);
            }
            _ => builder.add_file(name, bytes),
        }
    }
    let files = builder.load();
    let (data, problems) = files.read();
    assert!(problems.is_empty(), "{problems:?}");
    let expected = |name: &str| fs_err::read_to_string(fixture.join(name)).expect("what Go's tool prints");
    assert_eq!(data.percent(|_| true).0.to_string(), expected("percent.txt"));
    let mut text = Vec::new();
    data.write_text(|_| true, &mut text).expect("memory takes everything");
    assert_eq!(String::from_utf8(text).expect("text"), expected("textfmt.txt"));
}

/// A meta-data file with the same packages, each many times.
fn repeat_packages(hash: MetaHash, file: &[u8]) -> Vec<u8> {
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes")) as usize;
    let packages = number(16);
    let blobs: Vec<&[u8]> = (0..packages)
        .map(|index| &file[number(56 + 8 * index)..][..number(56 + 8 * (packages + index))])
        .collect();
    let blobs = blobs.repeat(1_000);
    let strings = [1, 0];
    let start = 56 + 16 * blobs.len() + strings.len();
    let total = start + blobs.iter().map(|blob| blob.len()).sum::<usize>();

    let mut out = file[..8].to_vec();
    out.extend((total as u64).to_le_bytes());
    out.extend((blobs.len() as u64).to_le_bytes());
    out.extend(hash.0);
    out.extend((56 + 16 * blobs.len() as u32).to_le_bytes());
    out.extend((strings.len() as u32).to_le_bytes());
    out.extend(&file[48..56]);
    let mut offset = start as u64;
    for blob in &blobs {
        out.extend(offset.to_le_bytes());
        offset += blob.len() as u64;
    }
    out.extend(blobs.iter().flat_map(|blob| (blob.len() as u64).to_le_bytes()));
    out.extend(strings);
    out.extend(blobs.concat());
    out
}
