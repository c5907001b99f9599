//! Expected Markdown of every block, documents as JSON, and number formats.

use std::time::Duration;

use report::{Align, Document, Error, Table, format, text};

fn check(build: impl FnOnce(&mut Document) -> &mut Document, expected: &str) {
    let mut document = Document::fragment();
    let _ = build(&mut document);
    assert_eq!(document.to_markdown(), expected);
}

/// A block of every kind, with text that is special in Markdown and JSON.
fn every_block() -> Result<Document, Error> {
    let mut table = Table::new([
        ("a|b", Align::Left),
        ("", Align::Center),
        ("n", Align::Right),
    ]);
    table.row(["line\nbreak", "`x`", "92.8 %"])?;
    let mut inside = Document::fragment();
    inside.list(["*a*", "b\nc"]).code("toml", "a = \"```\"\n");
    let mut document = Document::new("Every \"block\"");
    document
        .paragraph("Größe 5 µm, \\ \u{1b}[2J")
        .table(&table)
        .figure("figures\\a (1).png", "ROC [test]", "AUC 0.95.")
        .details("a < b", &inside)
        .note("one\ntwo")
        .warning("phantoms");
    Ok(document)
}

#[test]
fn a_document_survives_a_json_round_trip() {
    let document = every_block().unwrap();
    let json = serde_json::to_string(&document).unwrap();
    let read: Document = serde_json::from_str(&json).unwrap();
    assert_eq!(read, document);
    assert_eq!(read.to_markdown(), document.to_markdown());
}

#[test]
fn json_blocks_have_their_kind_and_fields() {
    let mut table = Table::new([("n", Align::Right)]);
    table.row(["1"]).unwrap();
    let mut document = Document::new("Data");
    document.table(&table).note("few");
    let expected = serde_json::json!([
        { "block": "heading", "level": 1, "text": "Data" },
        { "block": "table", "columns": [{ "name": "n", "align": "right" }], "rows": [["1"]] },
        { "block": "alert", "kind": "note", "text": "few" },
    ]);
    assert_eq!(serde_json::to_value(&document).unwrap(), expected);
}

#[test]
fn a_ragged_table_in_json_is_an_error_that_names_the_table() {
    let json = r#"[{ "block": "table", "columns": [{ "name": "n", "align": "left" }], "rows": [["1"], []] }]"#;
    let error = serde_json::from_str::<Document>(json).unwrap_err();
    let expected = "table `n`: cells of row 2: expected 1 values, found 0";
    assert!(error.to_string().starts_with(expected), "{error}");
}

/// Parts that are read back and appended give the same document as one written at once.
#[test]
fn parts_are_joined_into_one_document() {
    let mut whole = Document::new("Report");
    let mut joined = whole.clone();
    for name in ["train", "test"] {
        let mut part = Document::fragment();
        part.heading(2, name).paragraph("seen");
        whole.heading(2, name).paragraph("seen");
        let json = serde_json::to_string(&part).unwrap();
        joined.append(serde_json::from_str(&json).unwrap());
    }
    joined.append(Document::fragment());
    assert_eq!(joined, whole);
    assert_eq!(
        joined.to_markdown(),
        "# Report\n\n## train\n\nseen\n\n## test\n\nseen\n"
    );
}

#[test]
fn blocks() {
    check(|d| d.heading(2, "Data\nand splits"), "## Data and splits\n");
    check(|d| d.heading(9, "deep"), "###### deep\n");
    check(|d| d.paragraph(" one \n").paragraph("two"), "one\n\ntwo\n");
    check(|d| d.list(["a", "b\nc"]), "- a\n- b\n  c\n");
    check(|d| d.note("one\ntwo"), "> [!NOTE]\n> one\n> two\n");
    check(|d| d.warning("phantoms"), "> [!WARNING]\n> phantoms\n");
    check(|d| d.code("sh", "cargo run\n"), "```sh\ncargo run\n```\n");
    check(|d| d.code("", "a ``` b"), "````\na ``` b\n````\n");
}

#[test]
fn figures_support_special_characters_in_names() {
    check(|d| d.figure("roc.png", "ROC", ""), "![ROC](roc.png)\n");
    check(
        |d| d.figure("figures\\a (1).png", "ROC [test]", "AUC 0.95."),
        "![ROC \\[test\\]](figures/a%20%281%29.png)\n\n*AUC 0.95.*\n",
    );
}

#[test]
fn details_contain_a_document() {
    let mut inside = Document::fragment();
    inside.paragraph("hidden");
    check(
        |d| d.details("a < b", &inside),
        "<details>\n<summary>a &lt; b</summary>\n\nhidden\n\n</details>\n",
    );
}

#[test]
fn tables_align_and_escape() {
    let columns = [
        ("metric", Align::Left),
        ("mark", Align::Center),
        ("value", Align::Right),
    ];
    let mut table = Table::new(columns);
    table
        .row(["a|b", "x", "92.8 %"])
        .unwrap()
        .row(["line\nbreak", "", "1"])
        .unwrap();
    let expected = "\
| metric        | mark |  value |
| ------------- | :--: | -----: |
| a\\|b          |  x   | 92.8 % |
| line<br>break |      |      1 |
";
    check(|d| d.table(&table), expected);
}

#[test]
fn a_ragged_row_is_an_error_that_names_the_table() {
    let mut table = Table::new([("class", Align::Left), ("n", Align::Right)]);
    let error = table.row(["NORMAL"]).unwrap_err().to_string();
    assert_eq!(
        error,
        "table `class, n`: cells of row 1: expected 2 values, found 1"
    );
}

/// Escape sequences are made visible in text that is not escaped as a name.
#[test]
fn control_characters_are_made_visible_everywhere() {
    check(|d| d.paragraph("a\u{1b}[2J"), "a\\u001b[2J\n");
    check(|d| d.code("", "a\u{9b}b"), "```\na\\u009bb\n```\n");
    check(
        |d| d.figure("a.png", "<b>*x*", ""),
        "![&lt;b&gt;\\*x\\*](a.png)\n",
    );
}

/// Uses a name with many special characters in each place that contains names.
#[test]
fn names_from_outside_do_not_break_the_structure() {
    let name = "a|b`c*d_e<script>\n| x |";
    let mut table = Table::new([
        (text::escape(name), Align::Left),
        (text::code(name), Align::Left),
    ]);
    table.row([text::escape(name), text::code(name)]).unwrap();
    let mut document = Document::fragment();
    let shown = document.table(&table).to_markdown();
    assert_eq!(shown.lines().count(), 3);
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(shown.lines().all(|line| bars(line) == 3), "{shown}");
    assert!(
        !shown.contains("<script>") || shown.contains("``a"),
        "{shown}"
    );
}

#[test]
fn numbers() {
    let ms = Duration::from_millis;
    let cases = [
        (format::percent(0.92830, 1), "92.8 %"),
        (format::percent(f64::NAN, 1), "–"),
        (
            format::percent_interval(0.9283, (0.905, 0.947), 1),
            "92.8 % [90.5, 94.7]",
        ),
        (
            format::interval(0.9523, (0.9411, 0.9629), 3),
            "0.952 [0.941, 0.963]",
        ),
        (format::thousands(0), "0"),
        (format::thousands(999), "999"),
        (format::thousands(12_345_678), "12,345,678"),
        (format::share(1, 3), "33.3 %"),
        (format::share(0, 0), "–"),
        (format::seconds(4.21), "4.2 s"),
        (format::seconds(-1.0), "0 ms"),
        (format::seconds(f64::NAN), "0 ms"),
        (format::duration(ms(350)), "350 ms"),
        (format::duration(ms(999)), "999 ms"),
        (format::duration(ms(4_210)), "4.2 s"),
        (format::duration(ms(59_960)), "1 min 00 s"),
        (format::duration(ms(187_000)), "3 min 07 s"),
        (format::duration(ms(7_500_000)), "2 h 05 min"),
        (format::bytes(512), "512 B"),
        (format::bytes(35_000_000), "33.4 MiB"),
        (format::compact(1e-4), "0.0001"),
        (format::compact(1e-7), "1e-7"),
        (format::compact(0.25), "0.25"),
        (format::compact(0.0), "0"),
    ];
    for (actual, expected) in cases {
        assert_eq!(actual, expected);
    }
}
