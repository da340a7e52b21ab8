//! The token that hooks and agent share, and the proofs of it that travel in its place.
//!
//! Each side sends the other a random number, which the other signs together with what it says: HMAC-SHA256 with the
//! token as the key. So who listens in, or pretends to be the other side, never sees the token and cannot use a proof a
//! second time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

/// The scheme of an `Authorization` header with a signature by [`Token::sign`].
pub const SCHEME: &str = "Podcov-HMAC-SHA256";

/// Bytes of a nonce.
const NONCE_LENGTH: usize = 32;

/// A secret that hooks and agent share.
#[derive(Clone)]
pub struct Token(Arc<Keys>);

struct Keys {
    key: hmac::Key,
    /// The signature of the token itself, to compare another with it in constant time.
    own: hmac::Tag,
}

/// A random number that is used once, in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nonce(String);

/// The text is no nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 lower-case hexadecimal digits")]
pub struct NotANonce;

impl Token {
    /// The token in a text, without the white space around it. `None` where nothing else is there.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let own = hmac::sign(&key, text.as_bytes());
        Some(Self(Arc::new(Keys { key, own })))
    }

    /// Whether this text is the token.
    #[must_use]
    pub fn is(&self, text: &[u8]) -> bool {
        hmac::verify(&self.0.key, text, self.0.own.as_ref()).is_ok()
    }

    /// The value of the `Authorization` header with which a request proves that its sender has the token. `challenge` is
    /// the agent's, and serves for one request on the connection on which it came.
    #[must_use]
    pub fn sign(&self, challenge: &Nonce, method: &str, path_and_query: &str) -> String {
        let signature = self.prove(b"request", &[&challenge.0, method, path_and_query]);
        format!("{SCHEME} {signature}")
    }

    /// Whether an `Authorization` header is what [`Token::sign`] gives.
    #[must_use]
    pub fn has_signed(&self, header: &[u8], challenge: &Nonce, method: &str, path_and_query: &str) -> bool {
        let header = std::str::from_utf8(header).unwrap_or_default();
        let signature = header.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix(' '));
        signature.is_some_and(|signature| {
            self.has_proved(signature, b"request", &[&challenge.0, method, path_and_query])
        })
    }

    /// Signs texts for a purpose.
    pub(crate) fn prove(&self, purpose: &[u8], texts: &[&str]) -> String {
        hex(hmac::sign(&self.0.key, &message(purpose, texts)).as_ref())
    }

    /// Whether `proof` is what [`Token::prove`] gives for the same purpose and texts.
    pub(crate) fn has_proved(&self, proof: &str, purpose: &[u8], texts: &[&str]) -> bool {
        let Some(proof) = unhex(proof) else { return false };
        hmac::verify(&self.0.key, &message(purpose, texts), &proof).is_ok()
    }
}

/// No secret in logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Nonce {
    /// A new one.
    ///
    /// # Panics
    /// Where the operating system has no random numbers.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; NONCE_LENGTH];
        // Without random numbers nothing can be proved, and a fixed one would prove it falsely.
        #[expect(clippy::expect_used, reason = "the kernel's random numbers do not fail once it runs")]
        SystemRandom::new().fill(&mut bytes).expect("random numbers");
        Self(hex(&bytes))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Nonce {
    type Err = NotANonce;

    fn from_str(text: &str) -> Result<Self, NotANonce> {
        match unhex(text) {
            Some(bytes) if bytes.len() == NONCE_LENGTH => Ok(Self(text.to_owned())),
            _ => Err(NotANonce),
        }
    }
}

impl TryFrom<String> for Nonce {
    type Error = NotANonce;

    fn try_from(text: String) -> Result<Self, NotANonce> {
        text.parse()
    }
}

impl From<Nonce> for String {
    fn from(nonce: Nonce) -> Self {
        nonce.0
    }
}

/// Each text with its length before it, so that no two lists of texts make the same message.
fn message(purpose: &[u8], texts: &[&str]) -> Vec<u8> {
    let mut message = Vec::new();
    for part in [purpose].into_iter().chain(texts.iter().map(|text| text.as_bytes())) {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of lower-case hexadecimal digits.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::new(text).unwrap()
    }

    #[test]
    fn a_token_is_a_text_without_the_space_around_it() {
        assert!(Token::new(" \n").is_none());
        let token = token("s3cret\n");
        assert!(token.is(b"s3cret"));
        for wrong in [&b""[..], b"s3cre", b"s3crets", b"s3cret\n"] {
            assert!(!token.is(wrong));
        }
        assert!(!format!("{token:?}").contains("s3cret"));
    }

    /// The expected value was computed with Python's hmac module.
    #[test]
    fn a_proof_is_hmac_sha256_of_the_parts_each_after_its_length() {
        // The message: 0000000000000001 "p" 0000000000000002 "ab" 0000000000000000.
        let expected = "43e186116f5b272e4b515de1299a55a99e8b2ee31b49f439e44dac171ca09fc2";
        assert_eq!(token("s3cret").prove(b"p", &["ab", ""]), expected);
    }

    #[test]
    fn a_signature_is_for_one_request_and_one_challenge() {
        let (token, challenge, other) = (token("s3cret"), Nonce::random(), Nonce::random());
        let header = token.sign(&challenge, "POST", "/stop");
        assert!(token.has_signed(header.as_bytes(), &challenge, "POST", "/stop"));
        for (challenge, method, path) in [
            (&other, "POST", "/stop"),
            (&challenge, "GET", "/stop"),
            (&challenge, "POST", "/reset"),
            (&challenge, "POST", "/stop?x"),
            (&challenge, "POST/", "stop"),
        ] {
            assert!(!token.has_signed(header.as_bytes(), challenge, method, path), "{method} {path}");
        }
        assert!(!self::token("other").has_signed(header.as_bytes(), &challenge, "POST", "/stop"));
        let bare = header.replace(SCHEME, "Bearer");
        assert!(!token.has_signed(bare.as_bytes(), &challenge, "POST", "/stop"));
        assert!(!token.has_signed(SCHEME.as_bytes(), &challenge, "POST", "/stop"));
    }

    #[test]
    fn a_nonce_is_64_hexadecimal_digits() {
        let nonce = Nonce::random();
        assert_eq!(nonce.to_string().parse(), Ok(nonce.clone()));
        assert_ne!(nonce, Nonce::random());
        let text = nonce.to_string();
        for wrong in ["", "0", &text[1..], &format!("{text}00"), &"g0".repeat(32), &"A0".repeat(32)] {
            assert_eq!(wrong.parse::<Nonce>(), Err(NotANonce), "{wrong}");
        }
    }
}
