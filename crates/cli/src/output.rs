//! What a program prints: lines on stderr, results on stdout, and the log.
//!
//! Two rules hold for all of it. A reader that has gone changes nothing: no panic and no other exit code. And names and
//! messages that come from a cluster, a pod or a coverage file can neither control the terminal nor change the order in
//! which it shows text.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

use podcov_exit::is_printable;

use crate::url::without_url_secrets;

/// Prints a line on stderr for a person: `NAME: message`.
///
/// A message of several lines becomes one line. An error of stderr is ignored.
pub fn say(name: &str, message: impl std::fmt::Display) {
    let line = one_line(&without_url_secrets(&message.to_string()), is_printable);
    let _ = writeln!(io::stderr(), "{name}: {line}");
}

/// Writes to stdout, exactly as `fill` does; where stdout is a terminal, as [`print_text`] does.
///
/// # Errors
/// Those of `fill` and of stdout. A closed pipe is no error: its reader has all it needs, and the exit code tells the
/// rest.
pub fn print(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    if io::stdout().is_terminal() {
        return print_text(fill);
    }
    pass_closed_pipe(write_all(io::stdout().lock(), fill))
}

/// Writes text for a person to stdout. Control characters, but for the ends of lines and tabs, and invisible characters
/// become U+FFFD. Skaffold's terminal gets what a hook writes to a pipe, so it does not matter what stdout is.
///
/// # Errors
/// As [`print`].
pub fn print_text(fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let printed = write_all(io::stdout().lock(), |out| {
        let mut text = SafeText { out, cut: Vec::new() };
        fill(&mut text)?;
        text.flush()
    });
    pass_closed_pipe(printed)
}

fn write_all(out: impl Write, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // Small, so that large pieces are passed on without a copy.
    let mut out = BufWriter::with_capacity(32 << 10, out);
    let written = fill(&mut out).and_then(|()| out.flush());
    if written.is_err() {
        // Dropped as it is, the buffer would try to write its content once more.
        let _ = out.into_parts();
    }
    written
}

fn pass_closed_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A writer of log lines to stderr, which never fails. Each write must be one event.
pub(crate) struct LogLine {
    /// Whether the events have colours. What is not safe in the event itself is escaped before it is coloured.
    pub(crate) has_colours: bool,
}

impl Write for LogLine {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = without_url_secrets(&String::from_utf8_lossy(event));
        let line = one_line(&text, |c| is_printable(c) || (self.has_colours && c == '\u{1b}'));
        let _ = writeln!(io::stderr(), "{line}");
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Replaces what is not safe in text that is written through it.
struct SafeText<'a> {
    out: &'a mut dyn Write,
    /// The beginning of a character whose other bytes come with the next write.
    cut: Vec<u8>,
}

impl Write for SafeText<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nearly all text is safe, and needs no copy.
        let is_plain = |&byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
        if self.cut.is_empty() && bytes.iter().all(is_plain) {
            self.out.write_all(bytes)?;
            return Ok(bytes.len());
        }
        let mut text = std::mem::take(&mut self.cut);
        text.extend_from_slice(bytes);
        if let Some(chunk) = text.utf8_chunks().last()
            && std::str::from_utf8(chunk.invalid()).is_err_and(|e| e.error_len().is_none())
        {
            self.cut = chunk.invalid().to_vec();
            text.truncate(text.len() - self.cut.len());
        }
        let text = String::from_utf8_lossy(&text);
        self.out.write_all(replace(&text, |c| is_printable(c) || c == '\n' || c == '\t').as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.cut).is_empty() {
            self.out.write_all("\u{fffd}".as_bytes())?;
        }
        self.out.flush()
    }
}

fn one_line(text: &str, may_stay: impl Fn(char) -> bool) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    replace(&lines.join("; "), may_stay)
}

fn replace(text: &str, may_stay: impl Fn(char) -> bool) -> String {
    text.replace(|c| !may_stay(c), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_no_control_code() {
        let line = one_line("sh: 1:\n\n  cd: no \u{1b}[31mway\r\n", is_printable);
        assert_eq!(line, "sh: 1:; cd: no \u{fffd}[31mway");
    }

    /// What comes out of `print_text`'s filter for text that is written in these pieces.
    fn filtered(pieces: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut text = SafeText { out: &mut out, cut: Vec::new() };
        for piece in pieces {
            text.write_all(piece).unwrap();
        }
        text.flush().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_keeps_its_lines_and_tabs_wherever_it_is_cut() {
        let text = "a\tb\né\u{202e}点\u{1b}[2J🙂\n";
        let expected = "a\tb\né\u{fffd}点\u{fffd}[2J🙂\n";
        for cut in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            assert_eq!(filtered(&[first, second]), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(filtered(&bytes), expected);
    }

    #[test]
    fn what_is_not_utf_8_is_replaced() {
        assert_eq!(filtered(&[b"a\xffb", b"\xe7\x82"]), "a\u{fffd}b\u{fffd}");
        assert_eq!(filtered(&[b"\xe7", b"x"]), "\u{fffd}x");
    }
}
