//! What fuzzing starts from, and all that it has found: each file once more through its reader.

use std::path::Path;

#[test]
fn everything_in_the_corpus_is_read() {
    type Reader = fn(&[u8]);
    let readers: [(&str, Reader); 7] = [
        ("coverage", podcov_fuzz::coverage),
        ("text", podcov_fuzz::text),
        ("gomod", podcov_fuzz::gomod),
        ("source", podcov_fuzz::source),
        ("diff", podcov_fuzz::diff),
        ("tar", podcov_fuzz::tar),
        ("memory", podcov_fuzz::memory),
    ];
    for (name, read) in readers {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files = 0;
        for entry in fs_err::read_dir(folder).unwrap() {
            read(&fs_err::read(entry.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 0, "{name}");
    }
}
