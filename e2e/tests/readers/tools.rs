//! genhtml and lcov, xmllint, pycobertura, `go tool cover`, diff-cover.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::top;
use serde_json::Value;

use crate::{Shop, python, reader};

/// A tracefile's lines and functions as its own records list them: how many ran, of how many. Readers take the totals
/// in it as they are, or do without.
fn lcov_totals(text: &str) -> Result<[(usize, usize); 2]> {
    let mut sums = [(0, 0); 2];
    for record in text.split_terminator("end_of_record\n") {
        let listed = |key: &str| {
            let values = record.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned);
            values.collect::<Vec<_>>()
        };
        let hit = |values: &[String], column: usize| {
            values.iter().filter(|value| value.split(',').nth(column) != Some("0")).count()
        };
        let (lines, functions) = (listed("DA:"), listed("FNDA:"));
        let counted = [
            (hit(&lines, 1), lines.len()),
            (functions.iter().filter(|f| !f.starts_with("0,")).count(), functions.len()),
        ];
        let said = [("LH:", "LF:"), ("FNH:", "FNF:")].map(|(ran, all)| (listed(ran), listed(all)));
        for (number, ((ran, all), (said_ran, said_all))) in counted.into_iter().zip(said).enumerate() {
            ensure!((vec![ran.to_string()], vec![all.to_string()]) == (said_ran, said_all), "{record}");
            sums[number].0 += ran;
            sums[number].1 += all;
        }
    }
    Ok(sums)
}

#[test]
fn genhtml_and_lcov() -> Result<()> {
    let shop = Shop::new()?;
    shop.report("lcov data -o out/cover.lcov")?;
    let text = shop.read("out/cover.lcov")?;
    // Quiet: it prints nothing but warnings, and there are none.
    let said =
        shop.quiet("genhtml", &["--quiet", "--output-directory", "out/html", "out/cover.lcov"], &[])?;
    ensure!(said.is_empty(), "{said}");
    ensure!(shop.read("out/html/shapes/b.go.gcov.html")?.contains("shape = square{size}"));
    let summary = shop.run("lcov", ".", &["--summary", "out/cover.lcov"])?;
    let [(lines, all_lines), (functions, all_functions)] = lcov_totals(&text)?;
    for total in
        [format!("({lines} of {all_lines} lines)"), format!("({functions} of {all_functions} functions)")]
    {
        ensure!(summary.contains(&total), "{total} in\n{summary}");
    }
    Ok(())
}

#[test]
fn xmllint_and_pycobertura() -> Result<()> {
    let shop = Shop::new()?;
    shop.report("cobertura data -o out/cover.xml")?;
    let catalog = ("XML_CATALOG_FILES", reader("catalog.xml")?.canonicalize()?.display().to_string());
    let said = shop.quiet("xmllint", &["--noout", "--nonet", "--valid", "out/cover.xml"], &[catalog])?;
    ensure!(said.is_empty(), "{said}");
    let shown = shop.run(&python("pycobertura")?, ".", &["show", "--format", "json", "out/cover.xml"])?;
    let shown: Value = serde_json::from_str(&shown)?;
    let [(ran, all), _] = lcov_totals(&shop.report("lcov data")?)?;
    let total = &shown["total"];
    ensure!(
        (&total["Stmts"], &total["Miss"]) == (&all.into(), &(all - ran).into()),
        "{total} but {ran} of {all}"
    );
    ensure!(ran < all);
    Ok(())
}

/// The parts of a report hold together what the whole has.
#[test]
fn parts_for_a_service_with_a_limit() -> Result<()> {
    let shop = Shop::new()?;
    shop.report("cobertura data -o out/cover.xml")?;
    shop.report("cobertura data --max-bytes 4500 -o out/part.xml")?;
    let catalog = ("XML_CATALOG_FILES", reader("catalog.xml")?.canonicalize()?.display().to_string());
    let statements = |file: &str| -> Result<u64> {
        let shown = shop.run(&python("pycobertura")?, ".", &["show", "--format", "json", file])?;
        let shown: Value = serde_json::from_str(&shown)?;
        shown["total"]["Stmts"].as_u64().context("a number")
    };
    let parts = (1..).map(|number| format!("out/part-{number}.xml"));
    let parts: Vec<_> = parts.take_while(|part| shop.path(part).exists()).collect();
    ensure!(parts.len() > 1, "{parts:?}");
    let mut sum = 0;
    for part in &parts {
        let said = shop.quiet("xmllint", &["--noout", "--nonet", "--valid", part], &[catalog.clone()])?;
        ensure!(said.is_empty(), "{said}");
        sum += statements(part)?;
    }
    ensure!(sum == statements("out/cover.xml")?, "{sum}");
    Ok(())
}

#[test]
fn jsonschema_and_gaps() -> Result<()> {
    let shop = Shop::new()?;
    let schema = top().join("docs/gaps.schema.json").display().to_string();
    let check = "import json, jsonschema, sys
schema, line = json.load(open(sys.argv[1])), json.loads(sys.argv[2])
jsonschema.Draft202012Validator.check_schema(schema)
jsonschema.validate(line, schema)";
    let check = |line: &str| shop.run(&python("python3")?, ".", &["-c", check, &schema, line]);
    let lines = shop.report("gaps data --json")?;
    ensure!(
        lines.contains("\"whole_function\":true") && lines.contains("\"whole_function\":false"),
        "{lines}"
    );
    for line in lines.lines() {
        check(line)?;
    }
    let wrong = lines.lines().next().context("a gap")?.replace("\"statements\":", "\"statements\":-");
    ensure!(check(&wrong).is_err(), "{wrong}");
    Ok(())
}

#[test]
fn go_tool_cover() -> Result<()> {
    let shop = Shop::new()?;
    shop.report("textfmt data -o out/cover.out")?;
    shop.run("go", "shop", &["tool", "cover", "-html=../out/cover.out", "-o", "../out/cover.html"])?;
    ensure!(shop.read("out/cover.html")?.contains("sample/shapes/b.go (77.3%)"));
    let func = shop.run("go", "shop", &["tool", "cover", "-func=../out/cover.out"])?;
    ensure!(
        func.lines().any(|line| line.starts_with("sample/shapes/b.go:18:") && line.ends_with("85.7%")),
        "{func}"
    );
    Ok(())
}

const CHANGED: &str = "shop/shapes/b.go";

/// A repository whose branch has changed two lines since main.
fn changed_shop() -> Result<Shop> {
    let shop = Shop::new()?;
    let source = shop.read(CHANGED)?;
    fs::write(shop.path(CHANGED), source.replace("return 100", "return 99").replace("sum++", "sum--"))?;
    shop.git("init -q")?;
    shop.git("add -A")?;
    shop.git("commit -qm base")?;
    shop.git("checkout -qb work")?;
    fs::write(shop.path(CHANGED), source)?;
    shop.git("commit -qam change")?;
    Ok(shop)
}

/// Also where nothing is left to say.
#[test]
fn jsonschema_and_sarif() -> Result<()> {
    let shop = changed_shop()?;
    let schema = reader("sarif-2.1.0.json")?.display().to_string();
    let check = "import json, jsonschema, sys
log, schema = (json.load(open(name)) for name in sys.argv[1:])
print(*(error.json_path for error in jsonschema.Draft7Validator(schema).iter_errors(log)))";
    for (since, results) in [("main", 1), ("work", 0)] {
        let text = shop.report(&format!("diff data --since {since} --sarif"))?;
        let log: Value = serde_json::from_str(&text)?;
        ensure!(log["runs"][0]["results"].as_array().context("results")?.len() == results, "{text}");
        let without = text.replace("\"ruleId\"", "\"rule\"").replace("\"version\"", "\"release\"");
        for (text, is_valid) in [(&text, true), (&without, false)] {
            fs::write(shop.path("out/log.sarif"), text)?;
            let errors = shop.run(&python("python3")?, ".", &["-c", check, "out/log.sarif", &schema])?;
            ensure!(errors.trim().is_empty() == is_valid, "{errors}\n{text}");
        }
    }
    Ok(())
}

#[test]
fn diff_cover() -> Result<()> {
    let (shop, file) = (changed_shop()?, CHANGED);
    let ours = shop.report("diff data --since main")?;
    ensure!(ours.ends_with("changed lines: 50.0% (1 of 2)\n"), "{ours}");
    for (command, report) in [("cobertura", "out/cover.xml"), ("lcov", "out/cover.lcov")] {
        shop.report(&format!("{command} data -o {report}"))?;
        let args = [report, "--compare-branch=main", "--format", "json:out/diff.json", "--quiet"];
        shop.run(&python("diff-cover")?, ".", &args)?;
        let diff: Value = serde_json::from_str(&shop.read("out/diff.json")?)?;
        let stats = &diff["src_stats"][file];
        ensure!(diff["total_num_lines"] == 2 && diff["total_num_violations"] == 1, "{command}: {diff}");
        ensure!(stats["violation_lines"] == serde_json::json!([46]), "{command}: {diff}");
    }
    Ok(())
}

#[test]
fn the_counts_of_every_format_are_one() -> Result<()> {
    let shop = Shop::new()?;
    let lcov = shop.report("lcov data")?;
    let mut lines = BTreeMap::new();
    let mut file = "";
    for line in lcov.lines() {
        if let Some(name) = line.strip_prefix("SF:") {
            file = name;
        } else if let Some((number, count)) = line.strip_prefix("DA:").and_then(|line| line.split_once(',')) {
            lines.insert((file.to_owned(), number.to_owned()), count.to_owned());
        }
    }
    let xml = shop.report("cobertura data")?;
    let attribute = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let mut found = 0;
    let (mut file, mut in_methods) = (String::new(), false);
    for line in xml.lines() {
        if line.contains("<class ") {
            file = attribute(line, "filename").context("a file name")?;
        }
        in_methods = (in_methods || line.contains("<methods>")) && !line.contains("</methods>");
        if line.contains("<line ") && !in_methods {
            let number = attribute(line, "number").context("a number")?;
            let hits = attribute(line, "hits");
            ensure!(lines.get(&(file.clone(), number)) == hits.as_ref(), "{file}: {line}");
            found += 1;
        }
    }
    ensure!(found == lines.len(), "{found} of {}", lines.len());
    Ok(())
}
