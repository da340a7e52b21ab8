//! The install script, with a server on loopback and with a folder.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::dist::{Dist, VERSION, succeed};

/// Serves the files of a folder until the test's process ends.
fn serve(folder: PathBuf) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that hangs up is its own test's failure.
            let _ = answer(&stream, &folder);
        }
    });
    Ok(address)
}

fn answer(mut stream: &TcpStream, folder: &Path) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().context("a request")??;
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).context("a path")?.trim_start_matches('/');
    let (status, body) = match fs::read(folder.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    Ok(stream.write_all(&body)?)
}

/// Runs the install script for a folder, with the files of `url`.
fn install(dist: &Dist, url: &str, prefix: &Path) -> Result<Output> {
    let mut script = Command::new("sh");
    Ok(script.arg(dist.file("install.sh")).arg(prefix).env("PODCOV_URL", url).output()?)
}

/// Every file below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if folder.exists() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { files.extend(self::files(&path)?) } else { files.push(path) }
        }
    }
    Ok(files)
}

fn is_installed(prefix: &Path) -> Result<()> {
    for name in ["podcov", "podcov-run", "podcov-test", "podcov-signal", "podcov-collect", "podcov-report"] {
        let printed = succeed(Command::new(prefix.join("bin").join(name)).arg("--version"))?;
        assert_eq!(printed, format!("{name} {VERSION}\n"));
    }
    let plugin = succeed(Command::new(prefix.join("bin/kubectl-podcov")).args(["collect", "--version"]))?;
    assert_eq!(plugin, format!("podcov-collect {VERSION}\n"));
    ensure!(prefix.join("bin/podcov-agent").is_file() && prefix.join("share/man/man1/podcov.1").is_file());
    let left: Vec<_> =
        files(prefix)?.into_iter().filter(|file| file.display().to_string().contains(".new")).collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

#[test]
fn a_server_and_a_folder_serve_the_install_script() -> Result<()> {
    let dist = Dist::released()?;
    let prefix = dist.dir().join("a prefix");
    let address = serve(dist.folder())?;
    for url in [format!("http://{address}"), format!("file://{}", dist.folder().display())] {
        let output = install(&dist, &url, &prefix)?;
        ensure!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout)?;
        assert!(text.starts_with(&format!("podcov {VERSION} is in {}/bin\n", prefix.display())), "{text}");
        // The second time over the first.
        is_installed(&prefix)?;
    }
    Ok(())
}

/// Runs it where it must fail and install nothing.
fn refused(dist: &Dist, url: &str) -> Result<String> {
    let prefix = dist.dir().join("refused");
    let output = install(dist, url, &prefix)?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(files(&prefix)?.is_empty(), "something is installed");
    Ok(String::from_utf8(output.stderr)?)
}

#[test]
fn another_archive_than_the_released_one_is_refused() -> Result<()> {
    let dist = Dist::released()?;
    let archive = dist.file(&format!("podcov-{VERSION}-linux-amd64.tar.gz"));
    let mut bytes = fs::read(&archive)?;
    // An attacker who can change the archive can change the sums beside it too.
    *bytes.last_mut().context("an empty archive")? ^= 1;
    fs::write(&archive, bytes)?;
    fs::write(dist.file("SHA256SUMS"), "")?;
    let error = refused(&dist, &format!("http://{}", serve(dist.folder())?))?;
    assert!(error.contains("is not the released archive: its SHA-256 is "), "{error}");
    Ok(())
}

#[test]
fn a_missing_archive_is_named() -> Result<()> {
    let dist = Dist::released()?;
    let address = serve(dist.dir().join("nowhere"))?;
    let error = refused(&dist, &format!("http://{address}"))?;
    let name = format!("cannot download http://{address}/podcov-{VERSION}-linux-amd64.tar.gz");
    assert!(error.contains(&name), "{error}");
    Ok(())
}

#[test]
fn a_machine_without_an_archive_is_named() -> Result<()> {
    let dist = Dist::released()?;
    let path = dist
        .with_program("uname", "#!/bin/sh\nif [ \"$1\" = -s ]; then echo Linux; else echo riscv64; fi\n")?;
    let output = Command::new("sh").arg(dist.file("install.sh")).env("PATH", path).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert!(error.contains(&format!("podcov {VERSION} has no archive for linux-riscv64")), "{error}");
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}
