//! Cleans the names in coverage data, which come from a pod, for people and other tools.

use podcov_exit::is_printable;

/// Text on one line that can neither control a terminal nor look like other text: without control characters, line
/// separators and characters that change the direction of text.
pub(crate) fn printable(text: &str) -> String {
    text.replace(|c| !is_printable(c), "\u{fffd}")
}

/// [`printable`] text without characters that XML does not allow, not even escaped. XML 1.0: production `Char`.
pub(crate) fn xml(text: &str) -> String {
    printable(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters() {
        assert_eq!(
            printable("a\u{1b}[31m\n\u{202e}go.x\u{2066} é"),
            "a\u{fffd}[31m\u{fffd}\u{fffd}go.x\u{fffd} é"
        );
        assert_eq!(
            xml("a\u{0}b\u{1b}\u{fffe}\u{ffff}\u{1fffe}é"),
            "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{1fffe}é"
        );
    }
}
