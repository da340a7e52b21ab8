//! Which text may be shown to a person.

/// Whether a character does nothing but show itself, to a terminal and to a reader. All others are replaced by U+FFFD
/// wherever text is shown that comes from a cluster, a pod or a file: control characters (Unicode's Cc), line and
/// paragraph separators (Zl, Zp), format characters (Cf, among them those that turn the direction of writing), and those
/// that show nothing.
#[must_use]
pub fn is_printable(c: char) -> bool {
    !(c.is_control()
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
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_turns_or_hides_text() {
        // U+202E turns what follows, U+2066 isolates, U+200B has no width, U+2028 ends a line, U+9B is an ESC and a [.
        let odd = "\u{202e}\u{2066}\u{200b}\u{2028}\u{9b}\u{feff}\u{e0041}\u{ad}\u{61c}\n\u{1b}";
        assert!(odd.chars().all(|c| !is_printable(c)));
        let names = "pod/wéb-0 «größe» 点 עברית العربية 🙂 e\u{301}";
        assert!(names.chars().all(is_printable));
    }
}
