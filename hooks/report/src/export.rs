//! The files that editors and other tools look for, all at once.

use std::path::PathBuf;

use anyhow::Result;
use fs_err as fs;
use podcov_exit::{Exit, Failure, ResultExt};
use report::{cobertura, lcov};

use crate::input::{InputArgs, NothingSelected};
use crate::output::{self, Format};
use crate::suites::is_by_suite;

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// The folder to write coverage.out, lcov.info and coverage.xml into; it is made if it does not exist
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn export(Export { input, output: dir }: &Export) -> Result<Exit> {
    if is_by_suite(dir) {
        let failure =
            Failure::new(Exit::Usage, format!("-o {}: export writes the merged suites", dir.display()));
        return Err(failure.with_hint("for a file of each suite use textfmt, lcov or cobertura").into());
    }
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    fs::create_dir_all(dir).or_exit(Exit::Usage, "cannot make the folder")?;
    let [text, lcov, cobertura] = ["coverage.out", "lcov.info", "coverage.xml"].map(|name| dir.join(name));
    // Nothing is written if one of them is refused.
    for (path, format) in [(&text, Format::Text), (&lcov, Format::Lcov), (&cobertura, Format::Cobertura)] {
        input.check_output(path)?;
        output::check(path, format)?;
    }
    // Editors take a relative path for the end of a longer one: config/config.go would mark internal/config/config.go too.
    let report = input.report(&data)?.with_absolute_paths();
    input.say_missing(&report);
    input.write_text(&data, Some(&text))?;
    output::write(Some(&lcov), Format::Lcov, |out| lcov::write(&report, out))?;
    output::write(Some(&cobertura), Format::Cobertura, |out| cobertura::write(&report, out))?;
    let wrote = format!("{}: coverage.out, lcov.info, coverage.xml: {}", dir.display(), report.total());
    output::print(|out| writeln!(out, "{wrote}"))?;
    Ok(input.messages.exit())
}
