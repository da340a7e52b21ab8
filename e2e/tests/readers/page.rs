//! The HTML report in a browser.

use anyhow::{Result, ensure};
use fs_err as fs;
use serde_json::{Value, json};

use crate::Shop;
use crate::browser::Page;

const WIDE: (u32, u32) = (1400, 900);
const FILE: &str = "shop/shapes/b.go";

/// The page of the sample module.
async fn open(shop: &Shop, hash: &str) -> Result<Page> {
    shop.report("html data -o out/cover.html")?;
    Page::open(&shop.path("out/cover.html"), hash, WIDE).await
}

/// That the page asked for nothing but itself, and nothing went wrong in it.
fn is_quiet(page: &Page) -> Result<()> {
    let others = page.requests.iter().filter(|url| !url.starts_with("file://") && !url.starts_with("data:"));
    let others: Vec<_> = others.filter(|url| url.as_str() != "about:blank").collect();
    ensure!(others.is_empty() && page.errors.is_empty(), "{others:?} {:?}", page.errors);
    ensure!(
        page.requests.iter().filter(|url| url.starts_with("file://")).count() == 1,
        "{:?}",
        page.requests
    );
    Ok(())
}

fn lines(page_lines: &Value) -> Vec<i64> {
    page_lines.as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
}

const UNCOVERED: &str = "[...document.querySelectorAll('#source .line')]\
    .filter(line => line.querySelector('.uncovered')).map(line => +line.dataset.line)";

#[tokio::test]
async fn source_with_what_ran_and_what_did_not() -> Result<()> {
    let shop = Shop::new()?;
    let mut page = open(&shop, "").await?;
    let summary = shop.report("data")?;
    let total = summary.lines().last().and_then(|line| line.strip_prefix("coverage: ")).unwrap_or_default();
    let total = total.trim_end_matches("% of statements");
    page.until(&format!("document.querySelector('#total').textContent.startsWith('{total}')")).await?;
    page.eval(&format!("document.querySelector('[role=treeitem][data-path=\"{FILE}\"]').click()")).await?;
    page.until("document.querySelector('#source .line[data-line=\"22\"]')").await?;
    ensure!(page.eval("location.hash").await? == format!("#{FILE}"));
    // Each line of the file is there as it is, and those are marked that Go's own page marks.
    let source = shop.read(FILE)?;
    let text = page
        .eval(
            "document.querySelector('#source .line[data-line=\"22\"] .code')?.textContent ?? \
                          document.querySelector('#source .line[data-line=\"22\"]').textContent",
        )
        .await?;
    let line = source.lines().nth(21).unwrap_or_default().trim();
    ensure!(text.as_str().is_some_and(|text| text.contains(line)), "{text} is not {line}");
    // square.Area, its case, the case of stop, and two branches of Sum.
    for (place, missing, ran) in [(14, [14, 22], 24), (48, [46, 48], 50)] {
        page.eval(&format!("location.hash = '#{FILE}:{place}'")).await?;
        page.until(&format!("document.querySelector('#source .line[data-line=\"{ran}\"]')")).await?;
        let marked = lines(&page.eval(UNCOVERED).await?);
        ensure!(
            missing.iter().all(|line| marked.contains(line)) && !marked.contains(&ran),
            "{place}: {marked:?}"
        );
    }
    is_quiet(&page)
}

#[tokio::test]
async fn by_keyboard_alone() -> Result<()> {
    let shop = Shop::new()?;
    let mut page = open(&shop, &format!("#{FILE}")).await?;
    page.until("document.querySelector('#source .line')").await?;
    let current = "[...new Set([...document.querySelectorAll('#source .current')]\
        .map(span => +span.closest('.line').dataset.line))]";
    let mut seen = Vec::new();
    for _ in 0..3 {
        page.press("n").await?;
        let before = json!(seen.last().cloned().unwrap_or_default());
        page.until(&format!("{{}}, (now => now.length && JSON.stringify(now) !== '{before}')({current})"))
            .await?;
        seen.push(lines(&page.eval(current).await?));
    }
    let firsts: Vec<_> = seen.iter().map(|lines| lines[0]).collect();
    ensure!(firsts == [14, 21, 41] || firsts == [14, 22, 42], "{firsts:?}");
    page.press("p").await?;
    page.until(&format!("JSON.stringify({current}) === '{}'", json!(seen[1]))).await?;
    // The next file, and a filter on the tree.
    page.press("[").await?;
    page.until(&format!("location.hash !== '#{FILE}'")).await?;
    page.press("/").await?;
    page.until("document.activeElement === document.querySelector('#search')").await?;
    page.write("lib go").await?;
    let paths = "[...document.querySelectorAll('#tree [role=treeitem]')].map(row => row.dataset.path)";
    page.until(&format!("{paths}.some(path => path.endsWith('lib.go')) && !{paths}.some(path => path.endsWith('b.go') && !path.includes('lib'))")).await?;
    page.press("Escape").await?;
    page.until(&format!("{paths}.some(path => path.endsWith('shapes/b.go'))")).await?;
    page.eval("document.activeElement.blur()").await?;
    page.press("?").await?;
    page.until("(help => help && (help.open ?? !help.hidden))(document.querySelector('#help'))").await?;
    is_quiet(&page)
}

#[tokio::test]
async fn dark_and_light() -> Result<()> {
    let shop = Shop::new()?;
    let mut page = open(&shop, "").await?;
    page.until("document.documentElement.dataset.theme").await?;
    let background = "getComputedStyle(document.body).backgroundColor";
    let (theme, colour) =
        (page.eval("document.documentElement.dataset.theme").await?, page.eval(background).await?);
    page.eval("document.querySelector('#theme').click()").await?;
    page.until(&format!("document.documentElement.dataset.theme !== {theme}")).await?;
    ensure!(page.eval(background).await? != colour);
    // In both what ran and what did not have colours of their own, which are not the background's.
    page.eval(&format!("location.hash = '#{FILE}'")).await?;
    page.until("document.querySelector('#source .covered') && document.querySelector('#source .uncovered')")
        .await?;
    for _ in 0..2 {
        let mut colours = Vec::new();
        for class in ["covered", "uncovered", "side"] {
            let of = format!(
                "getComputedStyle(document.querySelector('#source .hit .{class}, #source .miss .{class}'))"
            );
            let property = if class == "side" { "borderRightColor" } else { "backgroundColor" };
            colours.push(page.eval(&format!("{of}.{property}")).await?);
        }
        colours.push(page.eval(background).await?);
        ensure!(colours.iter().all(|one| one != "rgba(0, 0, 0, 0)"), "{colours:?}");
        ensure!((1..colours.len()).all(|at| !colours[..at].contains(&colours[at])), "{colours:?}");
        page.eval("document.querySelector('#theme').click()").await?;
    }
    is_quiet(&page)
}

#[tokio::test]
async fn hostile_source_is_text() -> Result<()> {
    let shop = Shop::new()?;
    let nasty = "package x\n\nfunc F() {\n\t_ = `</script><img src=x onerror=\"document.title='owned'\">{{files}}` // é 🦀\n}\n";
    fs::write(shop.path("shop/lib/nasty.go"), nasty)?;
    fs::write(
        shop.path("data.out"),
        "mode: set\nsample/lib/nasty.go:3.10,5.2 1 0\nsample/lib/<b>.go:3.10,5.2 1 0\n",
    )?;
    shop.report("html data.out -o out/cover.html --title <i>&{{index}}")?;
    let mut page = Page::open(&shop.path("out/cover.html"), "#shop/lib/nasty.go", WIDE).await?;
    page.until("document.querySelector('#source .line[data-line=\"4\"]')").await?;
    let text = page.eval("document.querySelector('#source .line[data-line=\"4\"]').textContent").await?;
    ensure!(
        text.as_str()
            .is_some_and(|text| text.contains("</script><img src=x onerror=") && text.contains("é 🦀")),
        "{text}"
    );
    ensure!(
        page.eval("document.title.includes('<i>&{{index}}') && !document.querySelector('#source img')")
            .await?
            == true
    );
    // The file whose source is not there says so, and shows its blocks.
    page.eval("location.hash = '#shop/lib/<b>.go'").await?;
    page.until("document.body.textContent.includes('the source was not found')").await?;
    is_quiet(&page)
}

#[tokio::test]
async fn ten_thousand_files() -> Result<()> {
    let shop = Shop::new()?;
    let mut profile = "mode: count\n".to_owned();
    for file in 0..10_000 {
        let path = format!("pkg{}/sub{}/file{file}.go", file / 1000, file / 100 % 10);
        profile += &format!("sample/{path}:3.10,5.2 1 {}\n", file % 3);
        let path = shop.path("shop").join(path);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::write(path, format!("package x\n\nfunc F{file}() {{\n\tprintln({file})\n}}\n"))?;
    }
    fs::write(shop.path("data.out"), profile)?;
    shop.report("html data.out -o out/cover.html")?;
    let mut page = Page::open(&shop.path("out/cover.html"), "", WIDE).await?;
    page.until("document.querySelectorAll('#tree [role=treeitem]').length > 5").await?;
    // Few rows are in the document, wherever one scrolls and whatever one looks for.
    page.eval("document.querySelector('#search').focus()").await?;
    page.write("file99").await?;
    let rows = "document.querySelectorAll('#tree [role=treeitem]').length";
    page.until("[...document.querySelectorAll('#tree [role=treeitem]')].some(row => row.dataset.path.includes('/file99'))").await?;
    ensure!(page.eval(rows).await?.as_u64().is_some_and(|rows| rows < 200), "too many rows");
    page.eval("location.hash = '#shop/pkg9/sub9/file9999.go'").await?;
    page.until("document.querySelector('#source').textContent.includes('println(9999)')").await?;
    ensure!(
        page.eval("document.querySelectorAll('*').length").await?.as_u64().is_some_and(|all| all < 13_000)
    );
    is_quiet(&page)
}
