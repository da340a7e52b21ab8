//! Programs of other projects accept podcov-report's files, and print the same numbers; krew accepts a release. `make readers`
//! installs them and runs this.

mod browser;
mod codecov;
mod krew;
mod page;
mod suites;
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::{program, top};
use tempfile::TempDir;

/// A git repository with the sample Go module in its folder `shop`, and what runs of its programs left in `data`.
struct Shop(TempDir);

impl Shop {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        copy(&top().join("crates/covdata/tests/programs/sample"), &dir.path().join("shop"))?;
        let shop = Self(dir);
        let bin = shop.path("bin").display().to_string();
        shop.run(
            "go",
            "shop",
            &["build", "-buildvcs=false", "-cover", "-covermode=count", "-o", &format!("{bin}/"), "./..."],
        )?;
        fs::create_dir(shop.path("data"))?;
        for (program, args) in [("one", &["add", "x"][..]), ("three", &[])] {
            let mut command = Command::new(shop.path("bin").join(program));
            let ended = command.args(args).env("GOCOVERDIR", shop.path("data")).output()?;
            ensure!(ended.status.success(), "{program}: {ended:?}");
        }
        fs::remove_dir_all(shop.path("bin"))?;
        fs::write(shop.path(".gitignore"), "data\nout\n")?;
        fs::create_dir(shop.path("out"))?;
        Ok(shop)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs podcov-report at the top, and gives what it printed.
    fn report(&self, args: &str) -> Result<String> {
        let hook = program("podcov-report").display().to_string();
        let args: Vec<&str> = args.split_whitespace().collect();
        self.run(&hook, ".", &args)
    }

    /// Runs a program in a folder, and gives what it printed.
    fn run(&self, program: &str, folder: &str, args: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        let ended = command.args(args).current_dir(self.path(folder)).output().context(program.to_owned())?;
        let (stdout, stderr) =
            (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        ensure!(ended.status.success(), "{program} {args:?}: {}\n{stdout}{stderr}", ended.status);
        Ok(stdout.into_owned())
    }

    /// As [`run`](Self::run), and nothing may be on stderr: these programs warn there.
    fn quiet(&self, program: &str, args: &[&str], environment: &[(&str, String)]) -> Result<String> {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.path("."))
            .envs(environment.iter().map(|(k, v)| (*k, v.as_str())));
        let ended = command.output().context(program.to_owned())?;
        let (stdout, stderr) =
            (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        ensure!(
            ended.status.success() && stderr.is_empty(),
            "{program} {args:?}: {}\n{stdout}{stderr}",
            ended.status
        );
        Ok(stdout.into_owned())
    }

    fn git(&self, args: &str) -> Result<String> {
        let identity =
            ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
        let args: Vec<&str> = identity.into_iter().chain(args.split_whitespace()).collect();
        self.run("git", ".", &args)
    }

    fn read(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.path(name))?)
    }
}

/// A file of what `make readers` sets up.
fn reader(name: &str) -> Result<PathBuf> {
    let path = program("").join("../e2e/readers").join(name);
    ensure!(path.exists(), "{} is not there: run `make readers`", path.display());
    Ok(path)
}

/// A program of Python's.
fn python(name: &str) -> Result<String> {
    Ok(reader("python/bin")?.join(name).display().to_string())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
