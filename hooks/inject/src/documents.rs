//! A stream of YAML documents, as text.

/// The documents of a stream, each with the `---` before it. One after the other they are the stream.
pub(crate) fn split(stream: &str) -> Vec<&str> {
    let mut starts = Vec::new();
    let mut at = 0;
    for line in stream.split_inclusive('\n') {
        // At the beginning of a line it is no part of any value.
        if at > 0 && is_marker(line) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().copied().chain([stream.len()]);
    let starts = [0].into_iter().chain(starts.iter().copied());
    starts.zip(ends).map(|(start, end)| &stream[start..end]).collect()
}

/// Whether a document begins with this line.
pub(crate) fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_the_stream() {
        for (stream, documents) in [
            ("", vec![""]),
            ("a: 1\n", vec!["a: 1\n"]),
            ("---\na: 1\n---\nb: 2", vec!["---\na: 1\n", "---\nb: 2"]),
            (
                "# x\n---\n---\n--- # Source: a\na: |\n  ---\n  x\n",
                vec!["# x\n", "---\n", "---\n", "--- # Source: a\na: |\n  ---\n  x\n"],
            ),
            ("a: 1\r\n---\r\nb: ---x\r\n----\n", vec!["a: 1\r\n", "---\r\nb: ---x\r\n----\n"]),
        ] {
            assert_eq!(split(stream), documents);
            assert_eq!(split(stream).concat(), stream);
        }
    }
}
