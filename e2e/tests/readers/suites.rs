//! Suites in the HTML report, in a browser.

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde_json::json;

use crate::Shop;
use crate::browser::Page;

const FILE: &str = "shop/shapes/b.go";

/// A block of the sample's data: its file, first and last line, statements, and which of the suites `unit` and `e2e` ran it.
#[derive(Debug, Clone)]
struct Block {
    file: String,
    first: u64,
    last: u64,
    statements: u64,
    ran: [bool; 2],
}

/// Divides what ran in the sample among two suites, as text profiles: block by block to the first, the second and both.
fn divide(shop: &Shop) -> Result<Vec<Block>> {
    let text = shop.report("textfmt data")?;
    let mut profiles = [String::from("mode: count\n"), String::from("mode: count\n")];
    let (mut blocks, mut ran_before) = (Vec::new(), 0);
    for line in text.lines().skip(1) {
        let (place, count) = line.rsplit_once(' ').context("a count")?;
        let (place, statements) = place.rsplit_once(' ').context("a number of statements")?;
        let (file, place) = place.rsplit_once(':').context("a place")?;
        let (start, end) = place.split_once(',').context("a start and an end")?;
        let line = |place: &str| place.split('.').next().unwrap_or_default().parse();
        let ran = count != "0";
        ran_before += usize::from(ran);
        let ran = [[true, false], [false, true], [true, true]][ran_before % 3].map(|one| one && ran);
        for (profile, ran) in profiles.iter_mut().zip(ran) {
            *profile += &format!("{file}:{place} {statements} {}\n", if ran { count } else { "0" });
        }
        blocks.push(Block {
            file: file.replace("sample/", "shop/"),
            first: line(start)?,
            last: line(end)?,
            statements: statements.parse()?,
            ran,
        });
    }
    for (name, profile) in ["unit.out", "e2e.out"].into_iter().zip(profiles) {
        fs::write(shop.path(name), profile)?;
    }
    Ok(blocks)
}

/// Whether a view counts a block.
type Counts = fn([bool; 2]) -> bool;

const VIEWS: [(&str, Counts); 6] = [
    ("All suites", |[unit, e2e]| unit || e2e),
    ("unit", |[unit, _]| unit),
    ("e2e", |[_, e2e]| e2e),
    ("Only unit", |[unit, e2e]| unit && !e2e),
    ("Only e2e", |[unit, e2e]| e2e && !unit),
    ("In no suite", |[unit, e2e]| !unit && !e2e),
];

fn sum(blocks: &[Block], counts: Counts) -> u64 {
    blocks.iter().filter(|block| counts(block.ran)).map(|block| block.statements).sum()
}

async fn open(shop: &Shop, hash: &str) -> Result<Page> {
    shop.report("html --suite unit=unit.out --suite e2e=e2e.out -o out/suites.html")?;
    Page::open(&shop.path("out/suites.html"), hash, (1400, 1600)).await
}

const VIEW: &str = "document.querySelector('#suites').selectedOptions[0].textContent";

#[tokio::test]
async fn each_view_counts_its_statements_by_keyboard_alone() -> Result<()> {
    let shop = Shop::new()?;
    let blocks = divide(&shop)?;
    let own: Vec<Block> = blocks.iter().filter(|block| block.file == FILE).cloned().collect();
    let mut page = open(&shop, &format!("#{FILE}")).await?;
    page.until("document.querySelector('#source .line')").await?;
    for (number, (view, counts)) in VIEWS.into_iter().enumerate() {
        if number > 0 {
            page.press("s").await?;
        }
        page.until(&format!("{VIEW} === '{view}'")).await?;
        // In the header, in the tree and over the source.
        let all: u64 = blocks.iter().map(|block| block.statements).sum();
        let header = format!("{} of {all} statements", sum(&blocks, counts));
        page.until(&format!("document.querySelector('#total-counts').textContent === '{header}'")).await?;
        let of_file: u64 = own.iter().map(|block| block.statements).sum();
        let row =
            format!("document.querySelector('[role=treeitem][data-path=\"{FILE}\"] .counts').textContent");
        page.until(&format!("{row} === '{}/{of_file}'", sum(&own, counts))).await?;
        let figures = "document.querySelector('#figures .counts').textContent";
        let start = format!("{} of {of_file} statements", sum(&own, counts));
        page.until(&format!("{figures}.startsWith('{start}')")).await?;
        let functions = page
            .eval(
                "[...document.querySelectorAll('#functions a')].map(a => +/: (\\d+) of/.exec(a.title)[1])\
                 .reduce((a, b) => a + b, 0)",
            )
            .await?;
        ensure!(functions == sum(&own, counts), "{view}: {functions}");
    }
    // Once around, and back.
    page.press("s").await?;
    page.until(&format!("{VIEW} === 'All suites'")).await?;
    page.press("S").await?;
    page.until(&format!("{VIEW} === 'In no suite'")).await?;
    page.press("?").await?;
    page.until("document.querySelector('#help').open").await?;
    ensure!(page.eval("document.querySelector('#help .of-suites').offsetHeight > 0").await? == true);
    ensure!(page.errors.is_empty(), "{:?}", page.errors);
    Ok(())
}

#[tokio::test]
async fn lines_are_coloured_by_the_view_and_marked_by_suite() -> Result<()> {
    let shop = Shop::new()?;
    let blocks = divide(&shop)?;
    let mut page = open(&shop, &format!("#{FILE}")).await?;
    page.until("document.querySelector('#source .line')").await?;
    // A line that only one block has, of each kind that the file has.
    let own: Vec<&Block> = blocks.iter().filter(|block| block.file == FILE && block.statements > 0).collect();
    let has = |other: &Block, line: u64| (other.first..=other.last).contains(&line);
    let single = |block: &&&Block| own.iter().filter(|other| has(other, block.last)).count() == 1;
    let kinds: Vec<&Block> = [[true, false], [false, true], [true, true], [false, false]]
        .into_iter()
        .filter_map(|ran| own.iter().find(|block| block.ran == ran && single(block)).copied())
        .collect();
    ensure!(kinds.len() > 1, "{own:?}");
    for (view, counts) in VIEWS {
        page.until(&format!("{VIEW} === '{view}'")).await?;
        for Block { last: line, ran, .. } in &kinds {
            let row = format!("document.querySelector('#source .line[data-line=\"{line}\"]')");
            let class = match (view, counts(*ran)) {
                ("In no suite", true) => ".uncovered",
                ("In no suite" | "Only unit" | "Only e2e", false) => "",
                (_, true) => ".covered",
                (_, false) => ".uncovered",
            };
            for other in [".covered", ".uncovered"] {
                // The source is drawn after the view is named.
                page.until(&format!("Boolean({row}.querySelector('code {other}')) === {}", other == class))
                    .await?;
            }
            // Whatever the view, the marks tell which suites ran it.
            let marks = page
                .eval(&format!(
                    "[...{row}.querySelectorAll('.marks i')].map(mark => mark.className === 'ran')"
                ))
                .await?;
            ensure!(marks == json!(ran), "{view}, line {line}: {marks}");
        }
        page.press("s").await?;
    }
    // In dark and in light, a mark of a suite that ran has a colour of its own.
    for _ in 0..2 {
        let colours = page
            .eval(
                "[document.querySelector('.marks .ran'), document.querySelector('.marks i:not(.ran)'), document.body]\
                 .map(node => getComputedStyle(node).backgroundColor)",
            )
            .await?;
        ensure!(colours[0] != colours[1] && colours[0] != colours[2], "{colours}");
        page.eval("document.querySelector('#theme').click()").await?;
    }
    ensure!(page.errors.is_empty(), "{:?}", page.errors);
    Ok(())
}

#[tokio::test]
async fn the_keys_lead_to_what_the_view_is_about() -> Result<()> {
    let shop = Shop::new()?;
    let blocks = divide(&shop)?;
    let mut page = open(&shop, &format!("#{FILE}")).await?;
    page.until("document.querySelector('#source .line')").await?;
    page.eval(
        "(select => { select.value = 4; select.dispatchEvent(new Event('change')); select.blur(); })\
         (document.querySelector('#suites'))",
    )
    .await?;
    page.until(&format!(
        "{VIEW} === 'Only e2e' && document.querySelector('#position').textContent.includes('only e2e')"
    ))
    .await?;
    let only = blocks
        .iter()
        .filter(|block| block.file == FILE && block.statements > 0 && block.ran == [false, true]);
    let only: Vec<u64> = only.map(|block| block.first).collect();
    ensure!(!only.is_empty());
    for (number, _) in only.iter().enumerate() {
        page.press("n").await?;
        let position = format!("{} / {} only e2e", number + 1, only.len());
        page.until(&format!("document.querySelector('#position').textContent === '{position}'")).await?;
    }
    let last = page.eval("document.querySelector('#source .current').closest('.line').dataset.line").await?;
    ensure!(last.as_str().and_then(|line| line.parse().ok()) == only.last().copied(), "{last} {only:?}");
    ensure!(page.errors.is_empty(), "{:?}", page.errors);
    Ok(())
}

/// Without suites there is nothing to switch.
#[tokio::test]
async fn a_report_without_suites_has_no_switch() -> Result<()> {
    let shop = Shop::new()?;
    shop.report("html data -o out/cover.html")?;
    let mut page = Page::open(&shop.path("out/cover.html"), &format!("#{FILE}"), (1400, 900)).await?;
    page.until("document.querySelector('#source .line')").await?;
    page.press("s").await?;
    let hidden = "document.querySelector('#suites').hidden && !document.querySelector('.marks')";
    ensure!(page.eval(hidden).await? == true);
    ensure!(page.errors.is_empty(), "{:?}", page.errors);
    Ok(())
}
