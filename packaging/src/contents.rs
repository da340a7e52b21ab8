//! What is in a platform's archive.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::archive::{self, Entry};
use crate::linked::Program;
use crate::platform::Platform;
use crate::{notices, sbom};

/// What to make an archive of.
pub(crate) struct Release<'a> {
    /// Rust's name of the platform.
    pub(crate) target: &'a str,
    /// A podcov that runs here.
    pub(crate) podcov: &'a Path,
    /// The names of links to podcov, without `podcov-`.
    pub(crate) commands: &'a [String],
    /// Licences of what is no crate.
    pub(crate) notices: &'a [(String, PathBuf)],
    /// Further documents.
    pub(crate) documents: &'a [PathBuf],
    /// The time of all files.
    pub(crate) epoch: u64,
}

/// The shells, and where each looks for completions below `share`.
const COMPLETIONS: [(&str, &str); 4] = [
    ("bash", "bash-completion/completions/podcov"),
    ("zsh", "zsh/site-functions/_podcov"),
    ("fish", "fish/vendor_completions.d/podcov.fish"),
    ("powershell", "powershell/podcov.ps1"),
];

/// Makes the archive and, beside it, its SBOM.
///
/// # Errors
/// When something is missing or cannot be written.
pub(crate) fn make(release: &Release<'_>, messages: &[PathBuf], out: &Path) -> Result<()> {
    let platform = Platform::of(release.target)?;
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository")?;
    let lock = fs::read_to_string(top.join("Cargo.lock"))?;
    let mut programs = Vec::new();
    for file in messages {
        let program = Program::of_build(&fs::read_to_string(file)?, release.target, &lock)
            .with_context(|| file.display().to_string())?;
        let bytes = fs::read(&program.file)?;
        programs.push((program, bytes));
    }
    for (program, bytes) in &programs {
        let compressed = archive::gzip(bytes)?.len();
        println!("{} for {}: {} bytes, {compressed} compressed", program.name, release.target, bytes.len());
    }
    let named: Vec<_> = programs.iter().map(|(program, bytes)| (program, bytes.as_slice())).collect();
    let spdx = serde_json::to_vec_pretty(&sbom::spdx(&platform.stem(), &named, release.epoch)?)?;
    let crates: BTreeSet<_> = programs.iter().flat_map(|(program, _)| program.crates.clone()).collect();
    let license = fs::read_to_string(top.join("LICENSE"))?;
    let notices = notices::text(&crates, release.notices, &license)?;

    let mut entries = pages(release.podcov)?;
    for (program, bytes) in programs {
        entries.push(Entry::program(format!("bin/{}", platform.program(&program.name)), bytes));
    }
    // Windows lets only some users make links; there the commands are those of podcov.exe.
    if platform.os != "windows" {
        let names = release.commands.iter().map(|command| format!("podcov-{command}"));
        let names = names.chain(["kubectl-podcov".to_owned()]);
        entries.extend(names.map(|name| Entry::link(format!("bin/{name}"), "podcov")));
    }
    let mut document =
        |name: &str, bytes| entries.push(Entry::file(format!("share/doc/podcov/{name}"), bytes));
    document("LICENSE", license.into_bytes());
    document("THIRD-PARTY.txt", notices.into_bytes());
    document("podcov.spdx.json", spdx.clone());
    let own = ["README.md", "CHANGELOG.md"].map(|name| top.join(name));
    for file in own.iter().chain(release.documents) {
        let name = file.file_name().and_then(|name| name.to_str()).context("a name")?;
        document(name, fs::read(file)?);
    }
    let unpacked: usize = entries.iter().filter_map(Entry::bytes).map(<[u8]>::len).sum();
    for entry in &mut entries {
        entry.path = format!("{}/{}", platform.stem(), entry.path);
    }
    let archive = archive::gzip(&archive::tar(entries, release.epoch)?)?;
    fs::create_dir_all(out)?;
    fs::write(out.join(format!("{}.spdx.json", platform.stem())), spdx)?;
    fs::write(out.join(platform.archive()), &archive)?;
    println!("{}: {} bytes, {unpacked} unpacked", out.join(platform.archive()).display(), archive.len());
    Ok(())
}

/// Completions and manual pages, as this podcov writes them.
fn pages(podcov: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (shell, path) in COMPLETIONS {
        entries.push(Entry::file(format!("share/{path}"), run(podcov, &["completions", shell])?));
    }
    let folder = tempfile::tempdir()?;
    run(podcov, &["man", folder.path().to_str().context("a name")?])?;
    for page in fs::read_dir(folder.path())? {
        let page = page?;
        let name = page.file_name().into_string().ok().context("a name")?;
        entries.push(Entry::file(format!("share/man/man1/{name}"), fs::read(page.path())?));
    }
    Ok(entries)
}

fn run(podcov: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(podcov).args(args).output().with_context(|| podcov.display().to_string())?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {}: {error}", podcov.display(), args.join(" "));
    Ok(output.stdout)
}
