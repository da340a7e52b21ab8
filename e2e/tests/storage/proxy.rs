//! A proxy between the agent and a server, with faults. One request a connection: it has the server close it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Bytes pass at this rate, in each direction of each connection.
    Slow { bytes_per_second: usize },
    /// The first requests get this status for an answer, and the server does not see them.
    Answer { first: usize, status: &'static str },
    /// The connections of the first requests with a body end in its middle.
    CutRequest { first: usize },
    /// The connections of the first requests of a method end in the middle of the answer.
    CutAnswer { first: usize, method: &'static str },
    /// The first connections are accepted, and that is all.
    Hang { first: usize },
    /// Nothing may be read.
    WriteOnly,
}

/// A proxy that runs, until it is dropped.
pub(crate) struct Proxy {
    pub(crate) url: String,
    way: Arc<Way>,
    _accepting: JoinSet<()>,
}

/// What all connections share.
struct Way {
    /// Host and port.
    server: String,
    fault: Fault,
    seen: Mutex<Seen>,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) connections: usize,
    pub(crate) requests: usize,
    /// How often the fault was met.
    pub(crate) faults: usize,
    /// How many bytes were slow.
    pub(crate) slow: usize,
}

impl Proxy {
    /// Listens on a port that is free.
    pub(crate) async fn start(server: &str, fault: Fault) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = server.strip_prefix("http://").context("not plain HTTP")?.to_owned();
        let way = Arc::new(Way { server, fault, seen: Mutex::default() });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&way)));
        Ok(Self { url, way, _accepting: accepting })
    }

    pub(crate) fn seen(&self) -> Seen {
        self.way.seen(|seen| *seen)
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    // They end with this one.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let way = Arc::clone(&way);
        // The agent and the server may end a connection when they like.
        connections.spawn(async move { way.serve(client).await.ok() });
    }
}

/// A request's head.
struct Head {
    method: String,
    /// With the line that has the connection close.
    text: String,
    /// Of the body, in bytes.
    length: usize,
}

impl Head {
    /// `None` when the connection ends before one.
    async fn read(client: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut head = Self { method: String::new(), text: String::new(), length: 0 };
        loop {
            let mut line = String::new();
            client.read_line(&mut line).await?;
            let Some(line) = line.strip_suffix("\r\n") else { return Ok(None) };
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            match name.to_ascii_lowercase().as_str() {
                "" => break,
                "connection" => continue,
                "content-length" => head.length = value.trim().parse().map_err(io::Error::other)?,
                "transfer-encoding" | "expect" => return Err(io::Error::other("cannot be proxied")),
                _ if head.text.is_empty() => {
                    line.split(' ').next().unwrap_or_default().clone_into(&mut head.method);
                }
                _ => {}
            }
            head.text += line;
            head.text += "\r\n";
        }
        head.text += "Connection: close\r\n\r\n";
        Ok(Some(head))
    }
}

impl Way {
    fn seen<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the fault is to be met once more.
    fn fails(&self, first: usize) -> bool {
        self.seen(|seen| {
            let fails = seen.faults < first;
            seen.faults += usize::from(fails);
            fails
        })
    }

    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        let mut client = BufReader::new(client);
        self.seen(|seen| seen.connections += 1);
        if let Fault::Hang { first } = self.fault
            && self.fails(first)
        {
            // Until the agent gives up.
            tokio::io::copy(&mut client, &mut tokio::io::sink()).await?;
            return Ok(());
        }
        let Some(head) = Head::read(&mut client).await? else { return Ok(()) };
        self.seen(|seen| seen.requests += 1);
        let answer = match self.fault {
            Fault::Answer { first, status } => self.fails(first).then_some(status),
            Fault::WriteOnly => (head.method != "PUT" && self.fails(usize::MAX)).then_some("403 Forbidden"),
            _ => None,
        };
        if let Some(status) = answer {
            // One that comes before the request is over may never be seen.
            tokio::io::copy(&mut (&mut client).take(head.length as u64), &mut tokio::io::sink()).await?;
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return client.write_all(answer.as_bytes()).await;
        }

        let mut server = TcpStream::connect(&self.server).await?;
        server.write_all(head.text.as_bytes()).await?;
        if let Fault::CutRequest { first } = self.fault
            && head.length > 0
            && self.fails(first)
        {
            let half = (head.length / 2) as u64;
            tokio::io::copy(&mut (&mut client).take(half), &mut server).await?;
            return Ok(());
        }
        self.pass(&mut (&mut client).take(head.length as u64), &mut server).await?;
        if let Fault::CutAnswer { first, method } = self.fault
            && head.method == method
            && self.fails(first)
        {
            let mut answer = Vec::new();
            server.read_to_end(&mut answer).await?;
            return client.write_all(&answer[..answer.len() / 2]).await;
        }
        self.pass(&mut server, &mut client).await
    }

    /// Hands bytes on to their end, at the rate that they may have.
    async fn pass(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let Fault::Slow { bytes_per_second } = self.fault else {
            tokio::io::copy(from, to).await?;
            return Ok(());
        };
        let mut part = vec![0; bytes_per_second / 50];
        loop {
            let length = from.read(&mut part).await?;
            if length == 0 {
                return to.flush().await;
            }
            to.write_all(&part[..length]).await?;
            self.seen(|seen| {
                seen.faults += 1;
                seen.slow += length;
            });
            // The fault itself.
            tokio::time::sleep(Duration::from_secs_f64(length as f64 / bytes_per_second as f64)).await;
        }
    }
}
