//! Keeping the secrets of URLs out of messages.

/// Takes the secrets out of the URLs in a text: user and password, and the query, which is where signatures are.
pub(crate) fn without_url_secrets(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        safe.push_str(before);
        safe.push_str("://");
        let ends = |c: char| c.is_whitespace() || "\"'`<>()".contains(c);
        let (url, next) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let (address, query) =
            url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
        let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) => safe.extend(["***@", host, path]),
            None => safe.extend([authority, path]),
        }
        if query.is_some() {
            safe.push_str("?***");
        }
        rest = next;
    }
    safe + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_urls_are_taken_out() {
        for (text, safe) in [
            ("no URL at all?", "no URL at all?"),
            ("at https://host:1/a/b: refused", "at https://host:1/a/b: refused"),
            ("'az://c/p?sv=1&sig=x' (gs://u:p@b)", "'az://c/p?***' (gs://***@b)"),
            ("http://u:p@h, s3://u@b/p@q", "http://***@h, s3://***@b/p@q"),
            ("://", "://"),
        ] {
            assert_eq!(without_url_secrets(text), safe);
        }
    }
}
