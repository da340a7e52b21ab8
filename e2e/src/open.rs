//! A port-forward held open, as its clients see it.

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Desk, Running, start};

/// A podcov-test whose command tells the addresses and waits.
pub struct Open {
    hook: Running,
    /// Where each target is, by the names of their variables.
    pub addresses: Vec<String>,
}

impl Open {
    /// Starts it for `routes`, as on the command line, split at white space.
    ///
    /// # Errors
    /// When it does not get as far as its command.
    pub async fn new(desk: &Desk, routes: &str) -> Result<Self> {
        let script = "set -- $(env | grep ^PODCOV_ADDR_ | sort | cut -d= -f2); echo $*; exec sleep 1000";
        let args = routes.split_whitespace().chain(["--", "sh", "-c", script]);
        let mut hook = start(desk.command("podcov-test", args))?;
        let addresses = hook.first_line().await?.split_whitespace().map(str::to_owned).collect();
        Ok(Self { hook, addresses })
    }

    /// A connection to the first target.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn connect(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect(&self.addresses[0]).await?)
    }

    /// What one connection answers to one command.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn ask(&self, command: &str) -> Result<String> {
        ask(&self.addresses[0], command).await
    }

    /// What comes back on one connection of what is sent, both at once.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn echo(&self, sent: &[u8]) -> Result<Vec<u8>> {
        let (mut from, mut to) = self.connect().await?.into_split();
        let mut back = vec![0; sent.len()];
        to.write_all(b"ECHO\n").await?;
        tokio::try_join!(to.write_all(sent), from.read_exact(&mut back))?;
        Ok(back)
    }

    /// What one connection answers when its sending side is closed at once.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn half_closed(&self, said: &str) -> Result<Vec<u8>> {
        let mut stream = self.connect().await?;
        stream.write_all(said.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(answer)
    }

    /// Ends it, and gives what it wrote to standard error.
    ///
    /// # Errors
    /// When it ends in another way than it should.
    pub async fn close(self) -> Result<String> {
        self.hook.signal(Signal::TERM)?;
        let ended = self.hook.end().await?;
        ensure!(ended.code == 143, "{ended:?}");
        Ok(ended.stderr)
    }
}

/// What a new connection to `address` answers to one command.
///
/// # Errors
/// When it breaks.
pub async fn ask(address: &str, command: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
