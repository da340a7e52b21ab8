//! podcov.toml: the schema, the documented example and the program agree.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::{program, top};
use serde_json::Value;

use crate::page::page;

/// Whether a value is as a schema requires, as far as docs/podcov.schema.json uses JSON Schema.
fn fits(schema: &Value, value: &Value, all: &Value) -> bool {
    let rules = schema.as_object().into_iter().flatten();
    let within = |bound: &Value, sign: f64| {
        value.as_f64().is_none_or(|number| sign * number <= sign * bound.as_f64().unwrap_or(f64::NAN))
    };
    rules.into_iter().all(|(rule, is)| match rule.as_str() {
        "$ref" => is
            .as_str()
            .and_then(|path| all.pointer(path.trim_start_matches('#')))
            .is_some_and(|schema| fits(schema, value, all)),
        "type" => match is.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("number") => value.is_number(),
            _ => false,
        },
        "minimum" => within(is, -1.0),
        "maximum" => within(is, 1.0),
        "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= is.as_u64().unwrap_or(u64::MAX)),
        "anyOf" => is.as_array().into_iter().flatten().any(|schema| fits(schema, value, all)),
        "items" => value.as_array().into_iter().flatten().all(|item| fits(is, item, all)),
        "properties" => value
            .as_object()
            .into_iter()
            .flatten()
            .all(|(name, value)| is.get(name).is_none_or(|schema| fits(schema, value, all))),
        "additionalProperties" => value.as_object().into_iter().flatten().all(|(name, value)| {
            let is_known = schema["properties"].get(name).is_some();
            is_known || is.as_bool().unwrap_or_else(|| fits(is, value, all))
        }),
        // The program checks the names of suites.
        "propertyNames" | "pattern" | "$schema" | "$defs" | "title" | "description" => true,
        other => panic!("this test does not know {other}"),
    })
}

/// The schema, and the examples of podcov.toml in the docs.
fn schema_and_examples() -> Result<(Value, Vec<String>)> {
    let schema = serde_json::from_str(&fs::read_to_string(top().join("docs/podcov.schema.json"))?)?;
    let page = page("docs/reports.md")?;
    let blocks = page.blocks.into_iter().filter(|(language, _)| language == "toml");
    Ok((schema, blocks.map(|(_, block)| block).collect()))
}

/// What podcov-report prints on stderr with a podcov.toml, and an input that does not exist.
fn check(toml: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("podcov.toml");
    fs::write(&file, toml)?;
    let mut command = std::process::Command::new(program("podcov-report"));
    let output =
        command.args(["gate", "none.out", "--config"]).arg(&file).current_dir(folder.path()).output()?;
    ensure!(!output.status.success(), "there is no coverage, and yet a gate passed");
    Ok(String::from_utf8(output.stderr)?)
}

/// The names that the program knows, by the error for one that it does not know.
fn known(toml: &str) -> Result<BTreeSet<String>> {
    let error = check(toml)?;
    let list = error.split_once("expected one of").with_context(|| error.clone())?.1;
    Ok(list.lines().next().unwrap_or_default().split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

#[test]
fn the_schema_has_the_keys_that_the_program_knows() -> Result<()> {
    let (schema, _) = schema_and_examples()?;
    let gates = &schema["properties"]["gates"];
    for (part, toml) in [(&schema, "unknown = 1\n"), (gates, "[gates]\nunknown = 1\n")] {
        let names: BTreeSet<String> =
            part["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        ensure!(
            names == known(toml)?,
            "docs/podcov.schema.json has {names:?}, the program {:?}",
            known(toml)?
        );
        ensure!(part["additionalProperties"] == false, "{part}");
    }
    Ok(())
}

#[test]
fn the_examples_fit_the_schema_and_the_program() -> Result<()> {
    let (schema, examples) = schema_and_examples()?;
    let mut used = BTreeSet::new();
    for example in &examples {
        let value: Value = toml::from_str(example).with_context(|| example.clone())?;
        ensure!(fits(&schema, &value, &schema), "docs/podcov.schema.json refuses\n{example}");
        let error = check(example)?;
        ensure!(!error.contains("podcov.toml:"), "{error}\n{example}");
        for part in [&value, &value["gates"]] {
            used.extend(part.as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        }
    }
    let all = [&schema["properties"], &schema["properties"]["gates"]["properties"]];
    let all: BTreeSet<String> =
        all.into_iter().filter_map(Value::as_object).flatten().map(|(name, _)| name.clone()).collect();
    ensure!(used == all, "the examples have {used:?}, the schema {all:?}");
    Ok(())
}

#[test]
fn the_schema_refuses_what_the_program_refuses() -> Result<()> {
    let (schema, _) = schema_and_examples()?;
    for toml in [
        "excludes = \"x\"\n",
        "exclude = 3\n",
        "pkg = [\"\"]\n",
        "skip_generated = 1\n",
        "root = 1\n",
        "suites = \"x\"\n",
        "[suites]\nunit = 1\n",
        "[map]\nx = \"\"\n",
        "[gates]\nfail_under = 101\n",
        "[gates]\nfail_under = -1\n",
        "[gates]\nfail_under_package = \"80\"\n",
        "[gates.fail_under_suite]\nunit = 101\n",
        "[gates]\nunknown = 1\n",
    ] {
        let value: Value = toml::from_str(toml)?;
        ensure!(!fits(&schema, &value, &schema), "the schema takes {toml}");
        ensure!(check(toml)?.contains("podcov.toml:"), "the program takes {toml}");
    }
    Ok(())
}
