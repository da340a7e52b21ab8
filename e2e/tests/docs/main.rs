//! README.md and docs/ agree with the programs: what they name exists, and the commands in them are understood.

mod config;
mod page;
mod profile;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::{program, top};
use serde_json::Value;

use page::{page, pages};

/// The programs and their subcommands that have flags of their own.
const PROGRAMS: [(&str, &[&str]); 11] = [
    ("podcov-test", &[]),
    ("podcov-signal", &[]),
    ("podcov-collect", &[]),
    ("podcov-agent", &["run", "install", "watch"]),
    (
        "podcov-report",
        &[
            "textfmt",
            "merge",
            "html",
            "markdown",
            "badge",
            "gate",
            "diff",
            "gaps",
            "cobertura",
            "export",
            "ignored",
        ],
    ),
    ("podcov-report", &[]),
    ("podcov-run", &[]),
    ("podcov-doctor", &[]),
    ("podcov-init", &[]),
    ("podcov-inject", &[]),
    ("podcov", &["completions", "man"]),
];

/// What a program prints with these arguments and `--help`. It reads the arguments first.
fn help(name: &str, args: &[String]) -> Result<String> {
    let output = Command::new(program(name)).args(args).arg("--help").output();
    let output = output.with_context(|| format!("{name}: `make test` builds it"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} {}: {error}", args.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

/// The flags in a help text, with their dashes, but for `--help` and `--version`.
fn flags(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split_whitespace().take(2));
    let flags = words.filter(|word| word.starts_with('-'));
    let flags =
        flags.filter_map(|word| word.split([',', '[', '=']).next()).map(|word| word.replace("...", ""));
    let general = ["-", "-h", "--help", "-V", "--version"];
    flags.filter(|flag| !general.contains(&flag.as_str())).collect()
}

/// The flags of a program and its subcommands.
fn flags_of(name: &str, subcommands: &[&str]) -> Result<BTreeSet<String>> {
    let mut all = flags(&help(name, &[])?);
    for subcommand in subcommands {
        all.extend(flags(&help(name, &[(*subcommand).to_owned()])?));
    }
    Ok(all)
}

/// What follows `PREFIX` in a text, as long as it is a name of the shell's.
fn names<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let starts = text.match_indices(prefix).map(|(at, _)| &text[at..]);
    let end = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    starts.map(|rest| &rest[..rest.find(end).unwrap_or(rest.len())]).collect()
}

/// The text of the project's files with one of these extensions, without what is built.
fn sources(extensions: &[&str]) -> Result<String> {
    let mut text = String::new();
    let mut folders =
        ["crates", "hooks", "e2e", "examples", "packaging"].map(|name| top().join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e)) {
                text.push_str(&fs::read_to_string(path)?);
            }
        }
    }
    Ok(text)
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() -> Result<()> {
    let mut followed = 0;
    for page in pages()? {
        let folder = Path::new(&page.name).parent().context("a folder")?.to_owned();
        for link in page.links().into_iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.name.clone().into() } else { folder.join(path) };
            ensure!(top().join(&target).exists(), "{}: {link} leads nowhere", page.name);
            if !anchor.is_empty() {
                let anchors = page::page(&target.display().to_string())?.anchors();
                ensure!(
                    anchors.contains(&anchor.to_owned()),
                    "{}: {link}: no such heading in {anchors:?}",
                    page.name
                );
            }
            followed += 1;
        }
    }
    ensure!(followed > 50, "only {followed} links");
    Ok(())
}

#[test]
fn every_path_in_a_page_exists() -> Result<()> {
    let mut looked = 0;
    for page in pages()? {
        let paths = page.code().into_iter().filter(|code| !code.contains(['*', '…', ' ', '<']));
        let folders = ["crates/", "hooks/", "e2e/", "examples/", "docs/"];
        for path in paths.filter(|path| folders.iter().any(|folder| path.starts_with(folder))) {
            ensure!(top().join(path).exists(), "{}: there is no {path}", page.name);
            looked += 1;
        }
    }
    ensure!(looked > 50, "only {looked} paths");
    Ok(())
}

#[test]
fn the_readme_is_short_and_the_index_has_every_page() -> Result<()> {
    let readme = fs::read_to_string(top().join("README.md"))?;
    ensure!(readme.lines().count() <= 120, "README.md has {} lines", readme.lines().count());
    for index in ["README.md", "docs/README.md"] {
        let index = page(index)?;
        let folder = Path::new(&index.name).parent().context("a folder")?;
        let linked: Vec<_> = index.links().into_iter().map(|link| folder.join(link)).collect();
        for page in pages()?.iter().filter(|page| page.name.starts_with("docs/") && page.name != index.name) {
            ensure!(
                linked.contains(&page.name.clone().into()),
                "{} has no link to {}",
                index.name,
                page.name
            );
        }
    }
    Ok(())
}

/// That a program understands a command, without running it. Words with `…` stand for something.
fn check_command(place: &str, command: &[String]) -> Result<bool> {
    let name = command[0].rsplit('/').next().unwrap_or_default();
    // A message of a program's may begin with a path to it.
    if command[0].contains('…') || !PROGRAMS.iter().any(|(program, _)| *program == name) {
        return Ok(false);
    }
    let args = command[1..].iter().take_while(|word| *word != "--" && *word != ">>");
    let args: Vec<_> = args.filter(|word| !word.contains('…') && !word.starts_with('[')).cloned().collect();
    help(name, &args).with_context(|| place.to_owned())?;
    Ok(true)
}

#[test]
fn the_programs_understand_every_command() -> Result<()> {
    let mut checked = 0;
    for page in pages()? {
        for command in page.commands() {
            checked += usize::from(check_command(&page.name, &command)?);
        }
        for (language, block) in &page.blocks {
            if language != "yaml" {
                continue;
            }
            let document: Value =
                serde_saphyr::from_str(block).with_context(|| format!("{}:\n{block}", page.name))?;
            for command in commands_in(&document) {
                checked += usize::from(check_command(&page.name, &command)?);
            }
        }
    }
    ensure!(checked > 40, "only {checked} commands");
    Ok(())
}

/// The values of all `command` fields in a YAML document.
fn commands_in(document: &Value) -> Vec<Vec<String>> {
    match document {
        Value::Object(fields) => {
            let own = fields.get("command").and_then(Value::as_array);
            let words =
                |list: &Vec<Value>| list.iter().filter_map(|w| w.as_str().map(str::to_owned)).collect();
            own.map(words).into_iter().chain(fields.values().flat_map(commands_in)).collect()
        }
        Value::Array(items) => items.iter().flat_map(commands_in).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_flag_and_every_make_target_exists() -> Result<()> {
    let mut all = BTreeSet::new();
    for (name, subcommands) in PROGRAMS {
        all.extend(flags_of(name, subcommands)?);
    }
    all.extend(["--help".to_owned(), "--default-repo".to_owned()]); // the latter is Skaffold's
    let makefile = fs::read_to_string(top().join("Makefile"))?;
    let (mut flags, mut targets) = (0, 0);
    for page in pages()? {
        for code in page.code() {
            let flag = code.split([' ', '=', '[']).next().unwrap_or_default();
            // `-cover` and the like are Go's.
            if flag.starts_with("--") || (flag.starts_with('-') && flag.len() == 2) {
                ensure!(all.contains(flag), "{}: no program has `{code}`", page.name);
                flags += 1;
            }
        }
        for command in page.commands().iter().filter(|command| command[0] == "make") {
            for target in command[1..].iter().filter(|word| !word.contains('=')) {
                ensure!(
                    makefile.contains(&format!("\n{target}: ")),
                    "{}: make {target} does not exist",
                    page.name
                );
                targets += 1;
            }
        }
    }
    ensure!(flags > 50 && targets > 10, "only {flags} flags and {targets} targets");
    Ok(())
}

#[test]
fn the_tables_have_every_flag() -> Result<()> {
    let reference = page("docs/reference.md")?;
    let rows = reference.rows("Flags of the hooks")?;
    let columns = ["podcov-run", "podcov-test", "podcov-signal", "podcov-collect", "podcov-doctor"];
    for (column, name) in (1..).zip(columns) {
        let cells = rows.iter().filter(|row| row[0] != "takes").filter_map(|row| row.get(column));
        let listed: BTreeSet<_> =
            cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
        let mut own = flags_of(name, &[])?;
        own.retain(|flag| flag.starts_with("--"));
        ensure!(listed == own, "docs/reference.md lists {listed:?} for {name}, which has {own:?}");
    }
    for (name, subcommands, path) in [
        ("podcov-agent", ["run", "install", "watch"].as_slice(), "docs/agent.md"),
        ("podcov-report", PROGRAMS[4].1, "docs/reports.md"),
        ("podcov-init", &[], "docs/get-started.md"),
        ("podcov-inject", &[], "docs/get-started.md"),
    ] {
        let page = page(path)?;
        let named: Vec<_> = page
            .code()
            .into_iter()
            .flat_map(|code| code.split([' ', '[', ']', '=']))
            .map(str::to_owned)
            .collect();
        for flag in flags_of(name, subcommands)? {
            let known = named.contains(&flag)
                || ["-v", "--verbose", "--output", "--pcombine"].contains(&flag.as_str());
            ensure!(known, "{path} does not mention {flag} of {name}");
        }
    }
    Ok(())
}

#[test]
fn every_variable_is_read_somewhere_and_every_one_of_the_help_is_listed() -> Result<()> {
    let mut code = sources(&["rs", "yaml", "sh", "go"])?;
    for file in ["Makefile", ".github/workflows/release.yml"] {
        code += &fs::read_to_string(top().join(file))?;
    }
    let mut named = BTreeSet::new();
    for page in pages()? {
        let text =
            page.prose.join("\n") + &page.blocks.iter().map(|(_, block)| block.as_str()).collect::<String>();
        for name in names(&text, "PODCOV_") {
            // `PODCOV_…` and `PODCOV_ADDR_<NAME>` stand for several.
            ensure!(code.contains(name.trim_end_matches('_')), "{}: nothing reads {name}", page.name);
            named.insert(name.to_owned());
        }
        named.extend(names(&text, "SKAFFOLD_").into_iter().map(str::to_owned));
    }
    for (name, subcommands) in PROGRAMS {
        let mut text = help(name, &[])?;
        for subcommand in subcommands {
            text += &help(name, &[(*subcommand).to_owned()])?;
        }
        for prefix in ["PODCOV_", "SKAFFOLD_"] {
            for variable in names(&text, prefix).into_iter().filter(|v| !v.ends_with('_')) {
                ensure!(named.contains(variable), "no page mentions {variable} of {name}");
            }
        }
    }
    Ok(())
}

/// The text of messages in the source: Rust's strings, and those that the Kubernetes API server sends.
#[test]
fn every_message_is_one_of_the_programs() -> Result<()> {
    // A string that goes on in the next line has a backslash there.
    let code: String = sources(&["rs", "sh"])?.split("\\\n").map(str::trim_start).collect();
    let messages = page("docs/messages.md")?;
    let mut checked = 0;
    for heading in [
        "podcov-test, podcov-signal, podcov-collect, podcov-report",
        "podcov-agent, and the hooks that ask it",
    ] {
        for row in messages.rows(heading)? {
            for message in row[0].split('`').skip(1).step_by(2) {
                for part in message.split('…').map(str::trim).filter(|part| part.len() > 2) {
                    ensure!(code.contains(part), "no program says {part:?} (docs/messages.md: {message})");
                    checked += 1;
                }
            }
        }
    }
    ensure!(checked > 40, "only {checked}");
    Ok(())
}

/// The names in a table of a Cargo.toml.
fn table(manifest: &str, name: &str) -> Vec<String> {
    let lines =
        manifest.lines().skip_while(|line| *line != name).skip(1).take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split([' ', '.', '=']).next());
    names.filter(|name| !name.is_empty() && !name.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn the_architecture_lists_every_crate_and_every_dependency() -> Result<()> {
    let architecture = page("docs/architecture.md")?;
    let workspace = fs::read_to_string(top().join("Cargo.toml"))?;
    let short = |name: &str| name.trim_start_matches("podcov-").to_owned();
    let mut folders = BTreeMap::new();
    for folder in ["crates", "hooks"] {
        for entry in fs::read_dir(top().join(folder))? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok().context("a name")?;
            let manifest = fs::read_to_string(entry.path().join("Cargo.toml"))?;
            folders.insert(format!("{folder}/{name}"), manifest);
        }
    }

    let code = architecture.code();
    for folder in folders.keys() {
        ensure!(code.contains(&folder.as_str()), "docs/architecture.md does not mention {folder}");
    }
    let mut arrows = BTreeSet::new();
    for (folder, manifest) in folders.iter().filter(|(folder, _)| folder.starts_with("crates/")) {
        for dependency in table(manifest, "[dependencies]") {
            if workspace.contains(&format!("\n{dependency} = {{ path = ")) {
                arrows.insert(format!("{} --> {}", folder.trim_start_matches("crates/"), short(&dependency)));
            }
        }
    }
    let drawn =
        architecture.blocks.iter().find(|(_, block)| block.contains("flowchart TD")).context("a picture")?;
    let drawn: BTreeSet<_> =
        drawn.1.lines().map(str::trim).filter(|l| l.contains("-->")).map(str::to_owned).collect();
    ensure!(drawn == arrows, "docs/architecture.md draws {drawn:#?}, the crates have {arrows:#?}");

    let rows = architecture.rows("Dependencies")?;
    let listed: BTreeSet<_> = rows.iter().flat_map(|row| row[0].split(", ")).map(str::to_owned).collect();
    let used = table(&workspace, "[workspace.dependencies]").into_iter();
    let used: BTreeSet<_> =
        used.filter(|name| !workspace.contains(&format!("\n{name} = {{ path = "))).collect();
    ensure!(listed == used, "docs/architecture.md lists {listed:?}, the workspace has {used:?}");
    Ok(())
}
