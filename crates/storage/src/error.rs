//! Errors of storage, in words for a person.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use object_store::Error as StoreError;
#[cfg(feature = "cloud")]
use object_store::client::{HttpError, HttpErrorKind};
use podcov_exit::{Exit, Failure};
#[cfg(feature = "cloud")]
use url::Url;

/// Why something could not be written to storage, or read from it: one line, which starts with the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address is wrong, or a variable that it needs is not set. Another try changes nothing.
    #[error("{0}")]
    Address(String),
    /// The server refuses, or has no such bucket. Another try changes nothing.
    #[error("{0}")]
    Refused(String),
    /// The server could not be reached, or failed. Another try may succeed.
    #[error("{0}")]
    Passing(String),
    /// The object read back differs from the file. The transfer may have changed it.
    #[error("{0}")]
    Corrupt(String),
}

/// The words of object_store before a response's status and body. Its types for that are not public, and some of its
/// errors hide the status in a chain of others.
const ANSWERED: &str = "Server returned non-2xx status code: ";

/// Its words before the body of a response with status 200 that contains an error.
const FAILED: &str = "Server returned error response: ";

/// Amazon's response for a bucket in another region has no Location header, and object_store ignores the one in the body.
const REDIRECTED: &str = "Received redirect without LOCATION";

/// A server's message is cut to this length.
const LONGEST: usize = 200;

impl Error {
    /// The error with the exit code that the program exits with.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        let exit = if matches!(self, Self::Address(_)) { Exit::Usage } else { Exit::Unreachable };
        Failure::new(exit, self.to_string())
    }

    /// The error with the address in front.
    pub(crate) fn at(self, address: &str) -> Self {
        let at = |what| format!("{address}: {what}");
        match self {
            Self::Address(what) => Self::Address(at(what)),
            Self::Refused(what) => Self::Refused(at(what)),
            Self::Passing(what) => Self::Passing(at(what)),
            Self::Corrupt(what) => Self::Corrupt(at(what)),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        // The innermost error has the cause; the ones around it repeat it.
        let cause = chain(&error).last().map(ToString::to_string).unwrap_or_default();
        if let Some(answer) = cause.strip_prefix(ANSWERED) {
            return answered(answer);
        }
        if let Some(body) = cause.strip_prefix(FAILED) {
            return Self::Passing(format!("the server failed ({})", code(body).unwrap_or("no code")));
        }
        if cause.starts_with(REDIRECTED) {
            let message =
                "the server sends elsewhere without saying where; is the region right (AWS_REGION)?";
            return Self::Refused(message.to_owned());
        }
        let cause = one_line(&cause);
        if let Some(error) = chain(&error).find_map(|e| e.downcast_ref::<io::Error>())
            && is_lasting(error.kind())
        {
            return Self::Refused(cause);
        }
        #[cfg(feature = "cloud")]
        if let Some(unreached) = unreached(&error, &cause) {
            return unreached;
        }
        match error {
            StoreError::Unauthenticated { .. } => {
                Self::Refused(format!("the credentials are not accepted: {cause}"))
            }
            StoreError::PermissionDenied { .. } => {
                Self::Refused(format!("the credentials do not suffice: {cause}"))
            }
            StoreError::NotFound { .. } => Self::Refused(format!("not found: {cause}")),
            StoreError::InvalidPath { .. }
            | StoreError::NotSupported { .. }
            | StoreError::NotImplemented { .. }
            | StoreError::UnknownConfigurationKey { .. } => Self::Refused(cause),
            _ => Self::Passing(cause),
        }
    }
}

/// Whether an I/O error of a folder is permanent. A refused connection is not: it may be accepted later.
fn is_lasting(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename
    )
}

/// An error and those that it is due to.
fn chain(error: &StoreError) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |&error| error.source())
}

/// What an answer means: its status as in "403 Forbidden", a colon, and its body.
fn answered(answer: &str) -> Error {
    let (status, body) = answer.split_once(": ").unwrap_or((answer, ""));
    let (number, reason) = status.split_once(' ').unwrap_or((status, ""));
    let code = code(body);
    let said = format!("({number} {})", code.unwrap_or(reason));
    let refused = match (number, code) {
        ("401", _) => "the credentials are not accepted",
        ("403", Some("RequestTimeTooSkewed")) => "the clock here and the server's differ too much",
        // The codes of Amazon and Google for a right that is lacking, then Azure's. Amazon has others for credentials
        // that are wrong.
        (
            "403",
            None
            | Some(
                "AccessDenied"
                | "AuthorizationFailure"
                | "AuthorizationPermissionMismatch"
                | "InsufficientAccountPermissions",
            ),
        ) => "the credentials do not suffice",
        ("403", Some(_)) | ("400", Some("ExpiredToken" | "InvalidToken")) => {
            "the credentials are not accepted"
        }
        ("404", Some("NoSuchBucket")) => "there is no such bucket",
        ("404", Some("ContainerNotFound")) => "there is no such container",
        ("404", _) => "not found",
        ("400", Some("InvalidBucketName" | "AuthorizationHeaderMalformed")) => "the server refuses",
        // Somebody may make room.
        ("507", _) => return Error::Passing(format!("the server has no room {said}")),
        _ => return Error::Passing(format!("the server failed {said}")),
    };
    Error::Refused(format!("{refused} {said}"))
}

/// The code in an answer's body: all three clouds have it in XML, and those that give tokens in JSON.
fn code(body: &str) -> Option<&str> {
    let after = |start| body.split_once(start).map(|(_, rest)| rest);
    let code = after("<Code>")
        .and_then(|rest| rest.split_once("</Code>"))
        .or_else(|| after("\"error\":")?.trim_start().strip_prefix('"')?.split_once('"'))?
        .0;
    let is_one = (1..=64).contains(&code.len())
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    is_one.then_some(code)
}

/// Why the server was not reached, or its response was cut, if that is the cause.
#[cfg(feature = "cloud")]
fn unreached(error: &StoreError, cause: &str) -> Option<Error> {
    let http = chain(error).find_map(|e| e.downcast_ref::<HttpError>())?;
    let server = chain(error).find_map(server).unwrap_or_else(|| "the server".to_owned());
    Some(Error::Passing(match http.kind() {
        HttpErrorKind::Connect => format!("{server} cannot be reached: {cause}"),
        HttpErrorKind::Timeout => format!("{server} does not answer: {cause}"),
        _ => format!("the connection to {server} broke: {cause}"),
    }))
}

/// The server's host and port, from "Error performing METHOD URL in …".
#[cfg(feature = "cloud")]
fn server(error: &(dyn StdError + 'static)) -> Option<String> {
    let text = error.to_string();
    let url = Url::parse(text.strip_prefix("Error performing ")?.split(' ').nth(1)?).ok()?;
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cause: &str) -> Error {
        StoreError::Generic { store: "S3", source: cause.into() }.into()
    }

    fn answer(status: &str, body: &str) -> Error {
        of(&format!("{ANSWERED}{status}: {body}"))
    }

    #[test]
    fn what_makes_no_sense_to_try_again() {
        let xml = |code: &str| {
            format!("<?xml version='1.0'?>\n<Error>\n<Code>{code}</Code>\n<Message>x</Message></Error>")
        };
        for (status, body, message) in [
            (
                "401 Unauthorized",
                xml("AuthenticationRequired"),
                "the credentials are not accepted (401 AuthenticationRequired)",
            ),
            (
                "403 Forbidden",
                xml("SignatureDoesNotMatch"),
                "the credentials are not accepted (403 SignatureDoesNotMatch)",
            ),
            ("403 Forbidden", xml("AccessDenied"), "the credentials do not suffice (403 AccessDenied)"),
            ("403 Forbidden", "<html>\n".repeat(20), "the credentials do not suffice (403 Forbidden)"),
            ("404 Not Found", xml("NoSuchBucket"), "there is no such bucket (404 NoSuchBucket)"),
            ("404 Not Found", String::new(), "not found (404 Not Found)"),
        ] {
            assert_eq!(answer(status, &body), Error::Refused(message.to_owned()));
        }
        let moved =
            "Received redirect without LOCATION, this normally indicates an incorrectly configured region";
        assert!(matches!(of(moved), Error::Refused(_)));
    }

    #[test]
    fn what_may_pass() {
        for (status, body, message) in [
            ("503 Service Unavailable", "<Error><Code>SlowDown</Code>", "the server failed (503 SlowDown)"),
            ("500 Internal Server Error", "", "the server failed (500 Internal Server Error)"),
            ("507 Insufficient Storage", "", "the server has no room (507 Insufficient Storage)"),
            ("429 Too Many Requests", "<Code>not\none</Code>", "the server failed (429 Too Many Requests)"),
            ("400 Bad Request", r#"{"error": "invalid_grant"}"#, "the server failed (400 invalid_grant)"),
            ("400 Bad Request", r#"{"error": {"code": 1}}"#, "the server failed (400 Bad Request)"),
        ] {
            assert_eq!(answer(status, body), Error::Passing(message.to_owned()));
        }
        let slow = of(&format!("{FAILED}<Code>SlowDown</Code>"));
        assert_eq!(slow, Error::Passing("the server failed (SlowDown)".to_owned()));
        assert_eq!(of("two\n  lines"), Error::Passing("two lines".to_owned()));
        let long = of(&"é".repeat(LONGEST + 1));
        assert_eq!(long, Error::Passing(format!("{}…", "é".repeat(LONGEST))));
    }

    #[test]
    fn where_it_went_wrong() {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let http = HttpError::new(HttpErrorKind::Connect, io);
        let error = StoreError::Generic { store: "S3", source: http.into() };
        let expected = "s3://b/c: the server cannot be reached: connection refused";
        assert_eq!(Error::from(error).at("s3://b/c"), Error::Passing(expected.to_owned()));
        let performing = |what: &str| server(&std::io::Error::other(format!("Error performing {what}")));
        let url = "PUT http://127.0.0.1:9000/b/x?y in 1ms - HTTP error: error sending request";
        assert_eq!(performing(url), Some("127.0.0.1:9000".to_owned()));
        assert_eq!(performing("list request: Error performing GET http://a/ in 1ms"), None);
        assert_eq!(performing("GET REDACTED in 1ms"), None);
    }
}
