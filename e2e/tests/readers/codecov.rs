//! Codecov's own uploader, and a server in Codecov's place that keeps what it is sent.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::{Shop, python};

/// What was asked of the server.
#[derive(Clone, Default)]
struct Record {
    address: String,
    requests: Arc<Mutex<Vec<(Method, String, Bytes)>>>,
}

/// Answers as Codecov does: an upload is announced, and then put where the answer says.
async fn answer(State(record): State<Record>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path().to_owned();
    let put = method == Method::PUT;
    record.requests.lock().unwrap_or_else(PoisonError::into_inner).push((method, path.clone(), body));
    if put {
        return StatusCode::OK.into_response();
    }
    let answer = json!({
        "external_id": "00000000-0000-0000-0000-000000000001",
        "url": format!("http://{}/result", record.address),
        "raw_upload_location": format!("http://{}/storage/1", record.address),
    });
    (StatusCode::CREATED, axum::Json(answer)).into_response()
}

#[tokio::test]
async fn codecov_cli_uploads_every_format() -> Result<()> {
    let shop = Shop::new()?;
    for (command, file) in
        [("lcov", "out/cover.lcov"), ("cobertura", "out/cover.xml"), ("textfmt", "out/cover.out")]
    {
        shop.report(&format!("{command} data -o {file}"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let record = Record { address: listener.local_addr()?.to_string(), ..Record::default() };
        let server = Router::new().fallback(answer).with_state(record.clone());
        let server = tokio::spawn(axum::serve(listener, server).into_future());

        let mut cli = Command::new(python("codecovcli")?);
        // Nothing of this machine's own CI may reach it.
        cli.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LANG", "C.UTF-8");
        cli.env("HOME", shop.path(".")).env("NO_PROXY", "127.0.0.1").current_dir(shop.path("."));
        cli.args(["--disable-telem", "-u", &format!("http://{}", record.address), "upload-coverage"]);
        cli.args([
            "--token",
            "00000000-0000-0000-0000-000000000001",
            "--slug",
            "acme/shop",
            "--branch",
            "main",
        ]);
        cli.args(["--git-service", "github", "--sha", "0123456789abcdef0123456789abcdef01234567"]);
        cli.args(["--disable-search", "--plugin", "noop", "--fail-on-error", "-f", file]);
        let ended = cli.output().await?;
        server.abort();
        ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));

        let requests = record.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let [(announced, _, _), (put, path, body)] = requests.as_slice() else { panic!("{requests:?}") };
        ensure!(
            (announced, put, path.as_str()) == (&Method::POST, &Method::PUT, "/storage/1"),
            "{requests:?}"
        );
        let upload: Value = serde_json::from_slice(body)?;
        let sent = &upload["coverage_files"][0];
        ensure!(sent["format"] == "base64+compressed", "{upload}");
        let packed = BASE64.decode(sent["data"].as_str().context("the file's content")?)?;
        let mut content = String::new();
        flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_string(&mut content)?;
        ensure!(content == shop.read(file)?, "{file} came as\n{content}");
    }
    Ok(())
}
