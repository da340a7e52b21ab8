//! Chromium without a screen, spoken to in its own protocol (Chrome DevTools).

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A page in a browser of its own.
pub(crate) struct Page {
    socket: WebSocketStream<TcpStream>,
    session: String,
    last: u64,
    /// The addresses that were asked for.
    pub(crate) requests: Vec<String>,
    /// What went wrong in the page's script.
    pub(crate) errors: Vec<String>,
    // In this order: the browser ends before its folder goes.
    _browser: Child,
    _profile: TempDir,
}

impl Page {
    /// Opens a file, in a window of this size.
    pub(crate) async fn open(file: &Path, hash: &str, (width, height): (u32, u32)) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut browser = Command::new("chromium");
        browser.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-port=0",
        ]);
        browser.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        browser.arg(format!("--user-data-dir={}", profile.path().display()));
        browser.arg(format!("--window-size={width},{height}")).arg("about:blank");
        let mut browser = browser.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(browser.stderr.take().context("a pipe")?).lines();
        let address = loop {
            let line = lines.next_line().await?.context("Chromium ended before it said where it listens")?;
            if let Some(address) = line.strip_prefix("DevTools listening on ") {
                break address.to_owned();
            }
        };
        // It goes on talking, and must not wait for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });

        let host =
            address.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).context("an address")?;
        let stream = TcpStream::connect(host).await?;
        let (socket, _) = tokio_tungstenite::client_async(&address, stream).await?;
        let session = String::new();
        let (requests, errors) = (Vec::new(), Vec::new());
        let mut page =
            Self { socket, session, last: 0, requests, errors, _browser: browser, _profile: profile };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"})).await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", attach).await?;
        page.session = attached["sessionId"].as_str().context("a session")?.to_owned();
        for domain in ["Page", "Runtime", "Network"] {
            page.call(&format!("{domain}.enable"), json!({})).await?;
        }
        let url = format!("file://{}{hash}", file.display());
        page.call("Page.navigate", json!({ "url": url })).await?;
        page.until("document.readyState === 'complete'").await?;
        Ok(page)
    }

    /// What a JavaScript expression comes to; promises are awaited.
    pub(crate) async fn eval(&mut self, script: &str) -> Result<Value> {
        let ask = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", ask).await?;
        ensure!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until a JavaScript expression is true, looking at every frame that the page draws.
    pub(crate) async fn until(&mut self, condition: &str) -> Result<()> {
        self.eval(&format!(
            "new Promise(done => {{ const look = () => ({condition}) ? done() : requestAnimationFrame(look); look(); }})"
        ))
        .await
        .map(drop)
    }

    /// Presses a key.
    pub(crate) async fn press(&mut self, key: &str) -> Result<()> {
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key});
            if kind == "keyDown" && key.chars().count() == 1 {
                event["text"] = key.into();
            }
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Types a text.
    pub(crate) async fn write(&mut self, text: &str) -> Result<()> {
        for key in text.chars() {
            self.press(&key.to_string()).await?;
        }
        Ok(())
    }

    /// Sends a command and waits for its answer; notes on the way what the page asked for and what went wrong.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = self.session.as_str().into();
        }
        self.socket.send(Message::text(command.to_string())).await?;
        loop {
            let message = self.socket.next().await.context("Chromium ended")??;
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text)?;
            match message["method"].as_str() {
                Some("Network.requestWillBeSent") => {
                    self.requests
                        .push(message["params"]["request"]["url"].as_str().unwrap_or_default().to_owned());
                }
                Some("Runtime.exceptionThrown") => self.errors.push(message["params"].to_string()),
                _ => {}
            }
            if message["id"] == self.last {
                if !message["error"].is_null() {
                    bail!("{method}: {}", message["error"]);
                }
                return Ok(message["result"].clone());
            }
        }
    }
}
