//! What a program prints: lines on stderr, results on stdout, and the log.
//!
//! Two rules hold for all of it. A reader that has gone changes nothing: no panic and no other exit code. And names and
//! messages that come from a cluster, a pod or a coverage file can neither control the terminal nor change the order in
//! which it shows text.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

use crate::url::without_url_secrets;

/// Prints a line on stderr for a person: `NAME: message`.
///
/// A message of several lines becomes one line. An error of stderr is ignored.
pub fn say(name: &str, message: impl std::fmt::Display) {
    let line = one_line(&without_url_secrets(&message.to_string()), is_unsafe);
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
        let line = one_line(&text, |c| is_unsafe(c) && !(self.has_colours && c == '\u{1b}'));
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
        self.out.write_all(replace(&text, |c| is_unsafe(c) && c != '\n' && c != '\t').as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.cut).is_empty() {
            self.out.write_all("\u{fffd}".as_bytes())?;
        }
        self.out.flush()
    }
}

fn one_line(text: &str, is_unsafe: impl Fn(char) -> bool) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    replace(&lines.join("; "), is_unsafe)
}

fn replace(text: &str, is_unsafe: impl Fn(char) -> bool) -> String {
    text.replace(is_unsafe, "\u{fffd}")
}

/// Whether a character can do something to a terminal, or to a reader, other than show itself: a control character
/// (Unicode's Cc), a line or paragraph separator (Zl, Zp), a format character (Cf, among them those that turn the
/// direction of writing), or one that shows nothing.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_and_no_control_code() {
        let line = one_line("sh: 1:\n\n  cd: no \u{1b}[31mway\r\n", is_unsafe);
        assert_eq!(line, "sh: 1:; cd: no \u{fffd}[31mway");
    }

    #[test]
    fn no_character_turns_or_hides_text() {
        // U+202E turns what follows, U+2066 isolates, U+200B has no width, U+2028 ends a line, U+9B is an ESC and a [.
        let text = "a\u{202e}b\u{2066}c\u{200b}d\u{2028}e\u{9b}f\u{feff}g\u{e0041}h\u{ad}i\u{61c}";
        let shown: String = "abcdefghi".chars().flat_map(|c| [c, '\u{fffd}']).collect();
        assert_eq!(one_line(text, is_unsafe), shown);
        let names = "pod/wéb-0 «größe» 点 עברית العربية 🙂 e\u{301}";
        assert_eq!(one_line(names, is_unsafe), names);
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
