//! Counter files without the command line of the process that wrote them.
//!
//! Go's runtime stores `os.Args`, and with it every password given as a flag, in each counter file
//! (`captureOsArgs` in `internal/coverage/cfile/emit.go`), and has no option to turn that off.

use crate::encode::CounterFileBuilder;
use crate::{CounterFile, Error};

/// Gives a counter file without the process's command line. Go's tools read it as they read the original.
///
/// The system and the architecture stay, an argument count of 0 takes the place of the arguments, and any
/// other key is dropped. Counters are copied as they are.
///
/// # Errors
///
/// As [`CounterFile::parse`].
pub fn strip_args(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let file = CounterFile::parse(bytes)?;
    let mut out = CounterFileBuilder::with_header(file.header);
    for segment in file.segments() {
        let mut args = segment.args();
        args.command_line.clear();
        out.begin(&args)?;
        out.payload(segment.function_count(), segment.payload());
    }
    Ok(out.finish())
}
