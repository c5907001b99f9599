#!/usr/bin/env python3
"""Checks a run's report.html in a browser: errors in the console, accessibility, the movable threshold, sorting.

    pip install playwright; npm install axe-core
    python3 tools/check_html.py runs/pneumonia/latest/report.html --axe node_modules/axe-core/axe.min.js \\
        --chromium /usr/bin/chromium --shots /tmp/shots

Fails on an error in the console, a request, a violation that axe-core calls serious or critical, a confusion matrix at
the run's own threshold that is not the one in metrics.json, a table that does not sort, or a page wider than the window.
"""

import argparse
import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# Name, width, colour scheme.
VIEWS = [("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 320, "light"), ("narrow-dark", 320, "dark")]

faults = []


def check(right, words):
    if not right:
        faults.append(words)
        print(f"  WRONG: {words}")


def axe(page, source, view):
    """Violations of axe-core, whose script the page's policy would refuse: it is run by the debugger instead."""
    page.evaluate(source)
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    for violation in found:
        where = violation["nodes"][0]["target"]
        print(f"  axe, {view}: {violation['impact']}: {violation['id']} ({len(violation['nodes'])}, {where})")
        check(violation["impact"] not in ("serious", "critical"), f"axe, {view}: {violation['id']}")
    print(f"  axe, {view}: {len(found)} violations")


def shown(widget):
    return {name: int(widget.locator(f"[data-out={name}]").inner_text()) for name in ("tp", "fp", "tn", "fn")}


def threshold(page, metrics):
    """The counts at the run's own threshold, and that the slider changes and the button restores them."""
    widget = page.locator(".thresholds")
    if metrics is None or widget.count() == 0:
        print("  no ROC curve with thresholds")
        return
    counts = metrics["test"]["binary"]["counts"]
    names = {"tp": "true_positives", "fp": "false_positives", "tn": "true_negatives", "fn": "false_negatives"}
    expected = {short: counts[name] for short, name in names.items()}
    check(shown(widget) == expected, f"counts {shown(widget)} are not {expected}")
    for name, rate in [("sensitivity", "sensitivity"), ("ppv", "ppv"), ("npv", "npv"), ("specificity", "specificity")]:
        known = metrics["test"]["binary"][rate]
        if known:
            text = widget.locator(f"[data-out={name}]").inner_text()
            check(text == f"{100 * known['estimate']:.1f} %", f"{name} {text} is not {known['estimate']}")
    slider = widget.locator(".slider")
    slider.focus()
    page.keyboard.press("Home")
    all_positive = shown(widget)
    check(all_positive["fn"] == 0 and all_positive["tn"] == 0, f"at the lowest threshold {all_positive}")
    page.keyboard.press("ArrowRight")
    check(shown(widget) != all_positive, "an arrow key does not move the threshold")
    widget.locator(".prevalence").fill("1")
    rare = widget.locator("[data-out=ppv]").inner_text()
    widget.locator(".prevalence").fill("99")
    check(rare != widget.locator("[data-out=ppv]").inner_text(), "the prevalence does not change the PPV")
    widget.locator(".reset").click()
    check(shown(widget) == expected, "the button does not restore the counts")
    print(f"  threshold: {expected}")


def cases(page):
    for widget in page.locator(".cases").all():
        visible = widget.locator(".case:visible")
        every = visible.count()
        for radio in widget.locator("input[type=radio]").all():
            radio.check()
            words = radio.evaluate("e => e.parentElement.innerText")
            check(f"({visible.count()})" in words, f"{words}: {visible.count()} cases")
        if widget.locator("input[type=radio]").count():
            widget.locator("input[type=radio]").first.check()
        widget.locator(".order").select_option("up")
        values = [float(v) for v in visible.evaluate_all("all => all.map(e => e.dataset.value)")]
        check(values == sorted(values) and len(values) == every, "cases are not sorted")
        visible.first.focus()
        page.keyboard.press("ArrowRight")
        if every > 1:
            check(visible.nth(1).evaluate("e => e === document.activeElement"), "an arrow key does not move the focus")
        widget.locator(".order").select_option("")
        print(f"  cases: {every}")


def tables(page):
    """Sorts every column of every table up, down and back."""
    sorted_columns = 0
    for table in page.locator(".scroll > table").all():
        read = lambda: table.locator("tbody tr").all_inner_texts()
        written = read()
        for button in table.locator(".sort").all():
            header = button.locator("xpath=..")
            orders = []
            for _ in range(3):
                button.click()
                orders.append((header.get_attribute("aria-sort"), read()))
            check([o for o, _ in orders] == ["ascending", "descending", None], f"orders {[o for o, _ in orders]}")
            check(orders[2][1] == written, "the original order is not restored")
            check(sorted(orders[0][1]) == sorted(written), "sorting loses rows")
            sorted_columns += 1
    print(f"  tables: {sorted_columns} columns sorted up, down and back")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--axe", type=Path, required=True, help="axe.min.js of axe-core")
    parser.add_argument("--chromium", help="the browser; otherwise playwright's own")
    parser.add_argument("--shots", type=Path, help="folder for pictures of the page and for its print")
    args = parser.parse_args()
    source = args.axe.read_text()
    metrics = args.report.with_name("metrics.json")
    metrics = json.loads(metrics.read_text()) if metrics.is_file() else None
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        for name, width, scheme in VIEWS:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.on("console", lambda m: check(m.type not in ("error", "warning"), f"console: {m.text}"))
            page.on("pageerror", lambda e: check(False, f"script: {e}"))
            page.on("request", lambda r: check(r.url.startswith(("file:", "data:")), f"request: {r.url}"))
            page.goto(args.report.resolve().as_uri())
            wide = page.evaluate("document.documentElement.scrollWidth")
            check(wide <= width, f"{name}: the page is {wide} pixels wide")
            if args.shots:
                page.screenshot(path=args.shots / f"{name}.png", full_page=True)
            if name == "light":
                threshold(page, metrics)
                cases(page)
                tables(page)
                if args.shots:
                    page.pdf(path=args.shots / "print.pdf", format="A4")
            axe(page, source, name)
            page.close()
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(args.report.resolve().as_uri())
        check(page.locator(".controls:visible").count() == 0, "controls are shown without their script")
        browser.close()
    print(f"{args.report}: {args.report.stat().st_size / 1e6:.1f} MB, {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
