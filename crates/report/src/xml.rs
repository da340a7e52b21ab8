//! Text in XML.

/// Text without what XML cannot hold, not even escaped, and without control characters. XML 1.0: production `Char`.
pub(crate) fn text(text: &str) -> String {
    text.replace(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_xml_cannot_hold() {
        assert_eq!(
            super::text("a\u{0}b\u{1b}\u{fffe}\u{ffff}\u{1fffe}é"),
            "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{1fffe}é"
        );
    }
}
