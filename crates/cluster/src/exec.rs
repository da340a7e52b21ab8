//! Running a program in a container.

use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::AttachParams;
use kube::core::Request;

use crate::channels::{self, Incoming, Outgoing};
use crate::{Cluster, Container, Error};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;

/// A program that runs in a container, its output arriving piece by piece.
///
/// Dropping it cuts the connection; the runtime then ends a program that reads or writes.
pub struct Exec {
    incoming: Incoming,
    outgoing: Outgoing,
    program: String,
    stall: Duration,
    status: Option<Status>,
}

/// A piece of a program's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// From its standard output.
    Stdout(Bytes),
    /// From its standard error.
    Stderr(Bytes),
}

impl Cluster {
    /// Starts `command` in a container, with its standard input open if `stdin` says so. `stall` is how long
    /// [`Exec::next`] may wait for output.
    ///
    /// # Errors
    /// The API server's refusal, or that it could not be reached. That the program cannot be started shows
    /// only at [`Exec::end`].
    pub async fn exec(
        &self,
        container: &Container,
        command: &[&str],
        stdin: bool,
        stall: Duration,
    ) -> Result<Exec, Error> {
        let doing = "exec";
        let params = AttachParams::default().container(&container.container).stdin(stdin).stderr(true);
        let path = format!("/api/v1/namespaces/{}/pods", container.namespace);
        let request = Request::new(path)
            .exec(&container.pod, command.iter().copied(), &params)
            .map_err(|e| self.error(kube::Error::BuildRequest(e), doing))?;
        let connection = self.ask(doing, self.client().connect(request)).await?;
        let (incoming, outgoing) = channels::split(connection);
        let program = command.first().copied().unwrap_or_default().to_owned();
        Ok(Exec { incoming, outgoing, program, stall, status: None })
    }
}

impl Exec {
    /// Writes to the program's standard input.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub async fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.outgoing.send(STDIN, data).await
    }

    /// The next piece of output; `None` when the program has ended and all its output has come.
    ///
    /// # Errors
    /// [`Error::Broken`] when the connection ended first, [`Error::Stalled`] when nothing came for too long.
    pub async fn next(&mut self) -> Result<Option<Output>, Error> {
        loop {
            let message = tokio::time::timeout(self.stall, self.incoming.next()).await;
            match message {
                Err(_) if self.status.is_some() => return Ok(None),
                Err(_) => return Err(Error::Stalled(self.stall)),
                // Once the status is known the connection has nothing left to prove.
                Ok(Err(_) | Ok(None)) if self.status.is_some() => return Ok(None),
                Ok(Err(e)) => return Err(e),
                Ok(Ok(None)) => {
                    return Err(Error::Broken("closed before the program's exit status came".into()));
                }
                Ok(Ok(Some((_, data)))) if data.is_empty() => {}
                Ok(Ok(Some((STDOUT, data)))) => return Ok(Some(Output::Stdout(data))),
                Ok(Ok(Some((STDERR, data)))) => return Ok(Some(Output::Stderr(data))),
                Ok(Ok(Some((STATUS, data)))) => {
                    // Output that a server sends late still counts: go on until it closes.
                    self.status = Some(read_status(&data)?);
                    self.outgoing.finish().await;
                }
                Ok(Ok(Some(_))) => {}
            }
        }
    }

    /// The program's exit code; output not yet taken is thrown away.
    ///
    /// # Errors
    /// As [`Exec::next`]; [`Error::NoProgram`] or [`Error::NotStarted`] when it could not be started.
    pub async fn end(mut self) -> Result<i32, Error> {
        while self.next().await?.is_some() {}
        self.ended()
    }

    /// Its exit code, once [`Exec::next`] has given `None`.
    ///
    /// # Errors
    /// As [`Exec::end`]; [`Error::Broken`] before that.
    pub fn ended(&mut self) -> Result<i32, Error> {
        let status = self.status.take().ok_or_else(|| Error::Broken("it still runs".into()))?;
        end_of(status, &self.program)
    }
}

fn read_status(data: &[u8]) -> Result<Status, Error> {
    serde_json::from_slice(data).map_err(|e| Error::Broken(format!("its exit status is not readable: {e}")))
}

fn end_of(status: Status, program: &str) -> Result<i32, Error> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let message = status.message.unwrap_or_default();
    let code = (status.reason.as_deref() == Some("NonZeroExitCode"))
        .then(|| status.details.and_then(|d| d.causes).unwrap_or_default())
        .and_then(|causes| causes.into_iter().find(|c| c.reason.as_deref() == Some("ExitCode")))
        .and_then(|cause| cause.message?.parse().ok());
    match code {
        Some(code) => Ok(code),
        None if lacks_program(&message, program) => {
            Err(Error::NoProgram { program: program.to_owned(), message })
        }
        None => Err(Error::NotStarted(without_request(&message))),
    }
}

/// Whether a runtime says that the image lacks the program itself. A runtime that is restarting, or whose container
/// is, misses files as well ("no such file or directory", "not found"), but then the message does not name the program.
fn lacks_program(message: &str, program: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let program = program.to_ascii_lowercase();
    // runc: exec: "sh": executable file not found in $PATH. crun: executable file `sh` not found in $PATH.
    // gVisor: error finding executable "sh" in PATH. runc, for a path: exec: "/x": stat /x: no such file or directory.
    let named = [format!("\"{program}\""), format!("`{program}`")].iter().any(|name| message.contains(name));
    let absent = ["executable file not found", "not found in $path", "no such file or directory"];
    named && absent.iter().any(|words| message.contains(words))
}

/// The API server repeats the request to the node, with the whole command in it: `Post "https://…": cause`.
fn without_request(message: &str) -> String {
    match (message.split_once("Post \""), message.rsplit_once("\": ")) {
        (Some((before, _)), Some((_, cause))) => format!("{before}{cause}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(json: &str) -> Result<i32, Error> {
        end_of(read_status(json.as_bytes()).unwrap(), "sh")
    }

    #[test]
    fn statuses_as_servers_send_them() {
        let success = r#"{"metadata":{},"status":"Success"}"#;
        assert_eq!(end(success).unwrap(), 0);
        let failed = r#"{"metadata":{},"status":"Failure","message":"command terminated with exit code 3",
            "reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        assert_eq!(end(failed).unwrap(), 3);
        let missing = r#"{"metadata":{},"status":"Failure","reason":"InternalError","code":500,"message":
            "error executing command in container: failed to exec in container: failed to start exec \"1\": OCI runtime exec failed: exec failed: unable to start container process: exec: \"sh\": executable file not found in $PATH: unknown"}"#;
        assert!(matches!(end(missing), Err(Error::NoProgram { program, .. }) if program == "sh"));
        // From a real API server whose kubelet was being restarted.
        let away = r#"{"status":"Failure","reason":"InternalError","message":"Internal error occurred: error sending request: Post \"https://10.0.0.1:10250/exec/default/p/app?command=sh&command=-c\": dial tcp 10.0.0.1:10250: connect: connection refused"}"#;
        let cause = "Internal error occurred: error sending request: dial tcp 10.0.0.1:10250: connect: connection refused";
        assert!(matches!(end(away), Err(Error::NotStarted(m)) if m == cause));
    }

    fn failed(message: &str) -> Error {
        let status = serde_json::json!({"status": "Failure", "reason": "InternalError", "message": message});
        end(&status.to_string()).unwrap_err()
    }

    #[test]
    fn an_image_without_the_program() {
        for message in [
            "OCI runtime exec failed: exec failed: unable to start container process: exec: \"sh\": executable file not found in $PATH: unknown",
            "executable file `sh` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found",
            "error executing in container: error finding executable \"sh\" in PATH [/bin]: no such file or directory",
            "exec failed: exec: \"sh\": stat sh: no such file or directory: unknown",
        ] {
            let error = failed(message);
            assert!(matches!(&error, Error::NoProgram { program, .. } if program == "sh"), "{error}");
            assert!(!error.is_transient());
        }
    }

    #[test]
    fn a_container_or_a_runtime_that_is_just_starting_again() {
        for message in [
            "failed to create exec \"7f\": container not created: not found",
            "error executing command in container: failed to exec in container: failed to start exec \"7f\": OCI runtime exec failed: exec failed: cannot exec in a stopped container: unknown",
            "error executing command in container: container is not running",
            "container not found (\"app\")",
            "error executing command in container: failed to exec in container: failed to load task: no running task found: task 7f not found: not found",
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: no such file or directory\"",
            "open /run/containerd/io.containerd.runtime.v2.task/k8s.io/7f/config.json: no such file or directory",
            "some words that nobody has seen yet",
        ] {
            let error = failed(message);
            assert!(matches!(&error, Error::NotStarted(m) if m == message), "{error}");
            assert!(error.is_transient(), "{error}");
        }
    }

    #[test]
    fn a_status_that_is_no_json_is_an_error() {
        assert!(matches!(read_status(b"oops"), Err(Error::Broken(_))));
    }
}
