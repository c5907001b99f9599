//! The HTML of every block: structure, escaping, pictures. A small reader checks that tags are balanced.

#![allow(clippy::unwrap_used)] // helpers of tests; clippy.toml lets only #[test] functions

use std::fs;
use std::io;

use report::{
    Align, Case, Cases, Document, Error, OperatingPoint, Outcome, Table, ThresholdCurve,
    Thresholds, text,
};

fn read(path: &str) -> io::Result<Vec<u8>> {
    match path {
        "missing.png" => Err(io::Error::other("no such file")),
        _ => Ok(b"pixels".to_vec()),
    }
}

/// The page and its part between the tags of `main`; the whole page is balanced.
fn page(document: &Document) -> (String, String) {
    let page = document.to_html(&read).unwrap();
    balanced(&page);
    let main = page.split("tabindex=\"-1\">\n").nth(1).unwrap();
    let main = main.split("</main>").next().unwrap().to_owned();
    (page, main)
}

fn check(build: impl FnOnce(&mut Document) -> &mut Document, expected: &str) {
    let mut document = Document::fragment();
    let _ = build(&mut document);
    assert_eq!(page(&document).1.trim_end(), expected);
}

/// Follows the tags of a page: each that is opened is closed, in order, and attributes are quoted.
fn balanced(page: &str) {
    let mut open = vec![];
    let mut rest = page;
    while let Some((_, tag)) = rest.split_once('<') {
        let end = end_of(tag);
        let (tag, after) = (&tag[..end], &tag[end + 1..]);
        rest = after;
        for attribute in attributes(tag) {
            let runs = attribute.starts_with("on") || attribute == "style";
            assert!(!runs, "{attribute} in <{tag}>");
        }
        let name: String = tag.chars().take_while(|c| !c.is_whitespace()).collect();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop().as_deref(), Some(name), "before {}", head(after)),
            None if tag.ends_with('/') || name == "!DOCTYPE" => {}
            None if ["meta", "img", "br", "input"].contains(&name.as_str()) => {}
            None => open.push(name.clone()),
        }
        // Their content has no tags.
        if name == "style" || name == "script" {
            let end = after.find(&format!("</{name}>")).unwrap();
            rest = &after[end..];
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// Names of a tag's attributes, whose values are in double quotes.
fn attributes(tag: &str) -> Vec<&str> {
    let outside = tag.split('"').step_by(2);
    let words = outside.flat_map(str::split_whitespace);
    words
        .skip(1)
        .map(|word| word.trim_end_matches('='))
        .collect()
}

/// Where a tag ends: at the first `>` outside quotes.
fn end_of(tag: &str) -> usize {
    let mut quoted = false;
    let outside = |c: char| {
        quoted ^= c == '"';
        c == '>' && !quoted
    };
    tag.find(outside).unwrap()
}

fn head(text: &str) -> String {
    text.chars().take(60).collect()
}

fn table() -> Table {
    let mut table = Table::new([
        ("", Align::Left),
        ("a|b", Align::Center),
        ("n", Align::Right),
    ]);
    table.row(["x", "line\nbreak", "92.8 %"]).unwrap();
    table.row(["", "`y`", "–"]).unwrap();
    table
}

fn thresholds() -> Thresholds {
    let at = |threshold, true_positives, false_positives| OperatingPoint {
        threshold,
        true_positives,
        false_positives,
    };
    Thresholds {
        path: "figures/roc.png".into(),
        alt: "ROC \"curve\"".into(),
        positive: "A & B".into(),
        negative: "<none>".into(),
        positives: 4,
        negatives: 10,
        curves: vec![ThresholdCurve {
            name: "network".into(),
            detail: "AUC 0.9".into(),
            points: vec![(0.0, 0.0), (0.1, 0.75), (1.0, 1.0), (f64::NAN, 0.0)],
        }],
        points: vec![at(0.1, 4, 10), at(0.5, 3, 1)],
        chosen: 1,
    }
}

fn cases() -> Cases {
    let case = |outcome, value| Case {
        picture: "a.jpg".into(),
        title: "p/<a>\".png".into(),
        lines: vec!["true: A & B".into()],
        outcome,
        value,
    };
    Cases {
        name: "Cases <1>".into(),
        rule: "*All* of them.".into(),
        measure: "confidence".into(),
        cases: vec![
            case(Some(Outcome::Correct), 0.9),
            case(Some(Outcome::FalseNegative), 0.6),
        ],
    }
}

fn every_block() -> Document {
    let mut inside = Document::fragment();
    inside.list(["*a*", "b"]).code("toml", "a = \"<b>\"\n");
    let mut document = Document::new("Every block");
    document
        .heading(2, "Data")
        .paragraph("text")
        .table(&table())
        .figure("a.png", "ROC", "AUC *0.95*.")
        .details("a < b", &inside)
        .heading(3, "Data")
        .thresholds(thresholds())
        .cases(cases())
        .note("one\ntwo")
        .warning("phantoms");
    document
}

#[test]
fn blocks_of_text() {
    check(|d| d.paragraph("a *b*"), "<p>a <em>b</em></p>");
    check(|d| d.heading(9, "deep"), "<h6 id=\"s-deep\">deep</h6>");
    check(
        |d| d.list(["a", "`b`"]),
        "<ul>\n<li>a</li>\n<li><code>b</code></li>\n</ul>",
    );
    check(
        |d| d.code("sh", "a < b\n"),
        "<div class=\"scroll code\" role=\"group\" aria-label=\"Code, sh\" tabindex=\"0\"><pre><code>a &lt; b</code></pre></div>",
    );
    check(
        |d| d.warning("**x**"),
        "<div class=\"alert warning\" role=\"note\"><p class=\"kind\">Warning</p><p><strong>x</strong></p></div>",
    );
    let mut inside = Document::fragment();
    inside.paragraph("hidden");
    check(
        |d| d.details("a < b", &inside),
        "<details class=\"fold\"><summary>a &lt; b</summary>\n<p>hidden</p>\n</details>",
    );
}

#[test]
fn tables_have_headers_with_a_scope() {
    check(
        |d| d.heading(2, "Data").table(&table()),
        "<h2 id=\"s-data\">Data</h2>\n\
         <div class=\"scroll\" role=\"group\" aria-label=\"Table: Data\" tabindex=\"0\"><table>\n\
         <thead><tr><td></td><th scope=\"col\" class=\"center\">a|b</th><th scope=\"col\" class=\"number\">n</th></tr></thead>\n\
         <tbody>\n\
         <tr><th scope=\"row\">x</th><td class=\"center\">line<br>break</td><td class=\"number\">92.8 %</td></tr>\n\
         <tr><td></td><td class=\"center\"><code>y</code></td><td class=\"number\">–</td></tr>\n\
         </tbody>\n</table></div>",
    );
}

#[test]
fn figures_are_inside_the_file() {
    check(
        |d| d.figure("a.JPG", "a \"b\"", "*c*"),
        "<figure><div class=\"scroll\" role=\"group\" aria-label=\"Figure: a &quot;b&quot;\" tabindex=\"0\"><img src=\"data:image/jpeg;base64,cGl4ZWxz\" alt=\"a &quot;b&quot;\"></div><figcaption><em>c</em></figcaption></figure>",
    );
    check(
        |d| d.figure("a.svg", "x", ""),
        "<figure><div class=\"scroll\" role=\"group\" aria-label=\"Figure: x\" tabindex=\"0\"><img src=\"data:image/svg+xml;base64,cGl4ZWxz\" alt=\"x\"></div></figure>",
    );
    let error = |path| {
        let mut document = Document::fragment();
        document.figure(path, "", "");
        document.to_html(&read).unwrap_err().to_string()
    };
    assert_eq!(
        error("missing.png"),
        "cannot read the picture missing.png: no such file"
    );
    assert!(
        error("a.html").contains("a.html: it is neither PNG"),
        "{}",
        error("a.html")
    );
}

#[test]
fn an_roc_curve_has_the_counts_at_its_threshold_without_a_script() {
    let mut document = Document::fragment();
    document.thresholds(thresholds());
    let (_, main) = page(&document);
    for part in [
        "data-points=\"[[0.1,4,10],[0.5,3,1]]\" data-positives=\"4\" data-negatives=\"10\" data-chosen=\"1\"",
        "<td class=\"number\" data-out=\"tp\">3</td><td class=\"number\" data-out=\"fn\">1</td>",
        "<td class=\"number\" data-out=\"fp\">1</td><td class=\"number\" data-out=\"tn\">9</td>",
        "data-out=\"sensitivity\">75.0 %<",
        "data-out=\"specificity\">90.0 %<",
        "data-out=\"ppv\">75.0 %<",
        "data-out=\"npv\">90.0 %<",
        "value=\"28.6\"",
        "predicted A &amp; B",
        "predicted &lt;none&gt;",
        "aria-label=\"ROC &quot;curve&quot;\"",
        "optimistic",
    ] {
        assert!(main.contains(part), "{part} is not in {main}");
    }
    assert!(!main.contains("NaN"), "{main}");
    assert_eq!(
        document.to_markdown(),
        "![ROC \"curve\"](figures/roc.png)\n"
    );
}

#[test]
fn a_threshold_that_is_none_of_the_points_shows_nothing() {
    let mut document = Document::fragment();
    document.thresholds(Thresholds {
        chosen: 2,
        ..thresholds()
    });
    assert_eq!(page(&document).1.trim(), "");
}

#[test]
fn cases_are_listed_with_their_outcome() {
    let mut document = Document::fragment();
    document.cases(cases());
    let (_, main) = page(&document);
    for part in [
        "Cases &lt;1&gt;",
        "<em>All</em>",
        "data-outcome=\"fn\" data-value=\"0.6\"",
        "alt=\"Image p/&lt;a&gt;&quot;.png\"",
        "value=\"errors\"> wrong (1)",
        "value=\"fn\"> false negatives (1)",
    ] {
        assert!(main.contains(part), "{part} is not in {main}");
    }
    assert!(!main.contains("false positives"), "{main}");
    assert_eq!(document.to_markdown(), "", "Markdown has no cases");
}

#[test]
fn the_page_has_a_title_landmarks_and_a_contents() {
    let (page, _) = page(&every_block());
    for part in [
        "<html lang=\"en\">",
        "<title>Every block</title>",
        "<a class=\"skip\" href=\"#content\">",
        "<nav class=\"contents\" aria-label=\"Contents\">",
        "<li><a href=\"#s-data\">Data</a><ol><li><a href=\"#s-data-2\">Data</a></li></ol></li>",
        "<h3 id=\"s-data-2\">Data</h3>",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

/// Nothing is fetched, and nothing in a report can run.
#[test]
fn the_policy_allows_the_files_own_script_and_style_alone() {
    let (page, main) = page(&every_block());
    let policy = page
        .split("Content-Security-Policy\" content=\"")
        .nth(1)
        .unwrap();
    let policy = policy.split('"').next().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; img-src data:; style-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    for refused in [
        "style=",
        "onclick",
        "<script",
        "<iframe",
        "<link",
        "src=\"http",
    ] {
        assert!(!main.contains(refused), "{refused}");
    }
    assert!(!page.contains("http://") && !page.contains("https://"));
}

#[test]
fn texts_from_outside_are_shown_and_not_interpreted() {
    for name in [
        "<script>alert(1)</script>",
        "a\" onerror=\"alert(1)",
        "' onfocus='x",
        "[a](javascript:alert(1))",
        "R & D",
        "</main></title></style>",
        "<!--",
    ] {
        let escaped = text::escape(name);
        let mut table = Table::new([(escaped.as_str(), Align::Left)]);
        table.row([&escaped]).unwrap();
        let mut inside = Document::fragment();
        inside.code(name, name);
        let mut named = cases();
        named.name = name.into();
        named.measure = name.into();
        named.cases[0].title = name.into();
        named.cases[0].lines = vec![name.into()];
        let mut curve = thresholds();
        (curve.positive, curve.negative, curve.alt) = (name.into(), name.into(), name.into());
        curve.curves[0].name = name.into();
        let mut document = Document::new(&escaped);
        document
            .paragraph(&escaped)
            // As it would be if a caller forgot to escape it.
            .paragraph(name)
            .list([&escaped, &text::code(name)])
            .table(&table)
            .figure("a.png", name, &escaped)
            .details(name, &inside)
            .thresholds(curve)
            .cases(named)
            .note(&escaped);
        let (page, main) = page(&document);
        assert_eq!(page.matches("<script>").count(), 1, "{name}");
        assert_eq!(page.matches("</main>").count(), 1, "{name}");
        let lower = main.to_lowercase();
        for refused in ["<script", "<!--", "href=\"javascript"] {
            assert!(!lower.contains(refused), "{name}: {refused}\n{main}");
        }
    }
}

/// Texts of random special characters, escaped or not, leave every page balanced and without anything that runs.
#[test]
fn random_texts_do_not_break_the_structure() {
    const PIECES: [&str; 24] = [
        "<",
        ">",
        "&",
        "\"",
        "'",
        "`",
        "``",
        "*",
        "_",
        "[",
        "]",
        "(",
        ")",
        "!",
        "\\",
        "|",
        "\n",
        "<script>",
        "</p>",
        "<a href=x>",
        "javascript:",
        "&lt;",
        "](",
        "ü x",
    ];
    let mut random = random::Rng::stream(7, 1);
    for _ in 0..500 {
        let pieces = (0..12).map(|_| PIECES[random.below(PIECES.len())]);
        let name: String = pieces.collect();
        let mut table = Table::new([(text::escape(&name), Align::Left)]);
        table.row([name.as_str()]).unwrap();
        let mut document = Document::new(&name);
        document
            .paragraph(&name)
            .paragraph(&text::code(&name))
            .list([name.as_str()])
            .table(&table)
            .figure("a.png", &name, &name)
            .code(&name, &name)
            .details(&name, &Document::fragment())
            .warning(&name);
        let (_, main) = page(&document);
        let lower = main.to_lowercase();
        let refused = ["<script", "href=\"javascript"];
        assert!(
            !refused.iter().any(|r| lower.contains(r)),
            "{name:?}\n{main}"
        );
    }
}

#[test]
fn control_characters_and_changes_of_direction_are_visible() {
    let mut document = Document::new("a\u{1b}[2J");
    document
        .paragraph("gpj.\u{202e}exe \u{0}")
        .code("", "a\u{9b}b")
        .figure("a.png", "\u{2066}x", "");
    let (page, main) = page(&document);
    for part in ["a\\u001b[2J", "gpj.\\u202eexe", "a\\u009bb", "\\u2066x"] {
        assert!(main.contains(part), "{part} is not in {main}");
    }
    assert!(!page.contains(['\u{1b}', '\u{202e}', '\u{9b}', '\u{2066}', '\u{0}']));
}

#[test]
fn interactive_blocks_survive_a_json_round_trip() {
    let mut document = Document::fragment();
    let mut curve = thresholds();
    curve.curves[0].points.pop();
    document.thresholds(curve).cases(cases());
    let json = serde_json::to_string(&document).unwrap();
    assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document);
}

#[test]
fn both_files_are_written_and_pictures_are_read_from_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.md");
    fs::create_dir(folder.path().join("figures")).unwrap();
    fs::write(folder.path().join("figures/a (1).png"), "pixels").unwrap();
    let mut document = Document::new("x");
    document.figure("figures\\a (1).png", "a", "");
    document.save_with_html(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), document.to_markdown());
    let html = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(html.contains("base64,cGl4ZWxz"));
    for (picture, expected) in [
        ("figures/b.png", "cannot read the picture figures/b.png"),
        ("../a.png", "not in the document's folder"),
        ("/etc/a.png", "not in the document's folder"),
    ] {
        let mut document = Document::new("x");
        document.figure(picture, "", "");
        let error: Error = document.save_with_html(&path).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
