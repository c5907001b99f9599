#!/usr/bin/env python3
"""Checks the viewer in a browser, on a finished run: what it shows against the run's own files, keys, accessibility.

    pip install playwright pillow; npm install axe-core
    python3 tools/check_viewer.py runs/pneumonia/latest --program target/release/eff-unet \\
        --axe node_modules/axe-core/axe.min.js --chromium /usr/bin/chromium --shots /tmp/shots

Starts `view` and `serve`. Fails on an error in the console, a request to another host, a violation that axe-core calls
serious or critical, a page wider than the window, a count that is not the run's, a green share that is not the one that
`predict` records, a key that does nothing, or a new image whose page differs from its prediction.
"""

import argparse
import csv
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from check_html import VIEWS, axe, check, faults
from playwright.sync_api import sync_playwright


@contextmanager
def served(*command):
    """The address that a command of the program serves."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            print("  " + line.rstrip())
            if found := re.search(r"http://[0-9.]+:\d+", line):
                yield found.group()
                break
    finally:
        process.terminate()
        check(process.wait(60) == 0, f"{command[1]} ended with {process.returncode}")


class Browser:
    def __init__(self, chromium, axe, shots):
        self.chromium, self.axe, self.shots = chromium, axe, shots

    def page(self, width, scheme, **options):
        page = self.chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        page.on("console", lambda m: check(m.type not in ("error", "warning"), f"console: {m.text}"))
        page.on("pageerror", lambda e: check(False, f"script: {e}"))
        page.on("request", lambda r: check(r.url.startswith(("http://127.0.0.1:", "data:")), f"request: {r.url}"))
        return page

    def look(self, page, name, width):
        """Width, picture and accessibility of a page."""
        wide = page.evaluate("document.documentElement.scrollWidth")
        check(wide <= width, f"{name}: the page is {wide} pixels wide")
        if self.shots:
            page.screenshot(path=self.shots / f"{name}.png", full_page=True)
        axe(page, self.axe, name)


def rows_of(run, name):
    path = run / name
    return list(csv.DictReader(path.open())) if path.is_file() else []


def filter_counts(page):
    """The numbers beside the parts of the list."""
    found = {}
    for link in page.locator(".filters a").all():
        words, count = link.inner_text().rsplit(maxsplit=1)
        found[words] = int(count)
    return found


def listed(page):
    return page.locator(".worklist tbody .path").all_inner_texts()


def counts_at(rows, positive, threshold):
    cells = Counter()
    for row in rows:
        said = float(row[f"p_{positive}"]) >= threshold
        cells[row["class"] == positive, said] += 1
    return {"False positives": cells[False, True], "False negatives": cells[True, False],
            "True positives": cells[True, True], "True negatives": cells[False, False]}


def worklist(page, address, run):
    page.goto(address)
    rows = [row for row in rows_of(run, "predictions.csv") if row["split"] == "test"]
    if not rows:
        masks = rows_of(run, "segmentation.csv")
        worst = min((row for row in masks if row["dice"]), key=lambda row: float(row["dice"]))
        check(listed(page)[0] == worst["path"], f"{listed(page)[0]} is first, not {worst['path']}")
        print(f"  worklist: {len(masks)} images, the worst first")
        return
    metrics = json.loads((run / "metrics.json").read_text())
    wrong = sum(row["correct"] == "false" for row in rows)
    counts = filter_counts(page)
    check(counts["All"] == len(rows), f"{counts['All']} images, not {len(rows)}")
    check(counts["Wrong"] == wrong, f"{counts['Wrong']} wrong, not {wrong}")
    page.goto(f"{address}?show=wrong&sort=name")
    expected = sorted(row["path"] for row in rows if row["correct"] == "false")[:50]
    check(listed(page) == expected, "the wrong cases are not the run's")
    if len(metrics["classes"]) == 2:
        threshold(page, address, rows, metrics)
    page.goto(address)
    page.locator("#q").fill(rows[0]["path"])
    page.keyboard.press("Enter")
    page.wait_for_url("**q=**")
    check(rows[0]["path"] in listed(page), "the search does not find an image")
    print(f"  worklist: {counts}")


def threshold(page, address, rows, metrics):
    """The slider moves matrix, filters and list, and the address keeps it."""
    positive = metrics["classes"][metrics["positive"]]
    page.goto(f"{address}?show=wrong")
    slider = page.locator(".thresholds .slider")
    for key in ["Home", "End", "PageDown", "ArrowLeft"]:
        slider.focus()
        with page.expect_response(lambda r: "show=wrong" in r.url):
            page.keyboard.press(key)
        page.wait_for_timeout(200)
        chosen = page.evaluate("Number(new URL(location.href).searchParams.get('t'))")
        expected = counts_at(rows, positive, chosen)
        counts = filter_counts(page)
        check({name: counts[name] for name in expected} == expected, f"at {chosen}: {counts}, not {expected}")
        shown = {name: int(page.locator(f"[data-out={short}]").inner_text()) for short, name in
                 [("fp", "False positives"), ("fn", "False negatives"), ("tp", "True positives"), ("tn", "True negatives")]}
        check(shown == expected, f"the matrix at {chosen} is {shown}, not {expected}")
    before = page.url
    page.reload()
    check(float(slider.input_value()) > 0 and page.url == before, "a loaded page loses the threshold")
    check(abs(float(page.locator(".thresholds .shown").inner_text()) - chosen) < 6e-4, "the slider is not where it was")
    with page.expect_response(lambda r: "show=wrong" in r.url):
        page.locator(".thresholds .reset").click()
    page.wait_for_timeout(200)
    check("t=" not in page.url, "the button does not restore the run's threshold")
    page.locator(".thresholds .prevalence").fill("2")
    rare = page.locator("[data-out=ppv]").inner_text()
    page.locator(".thresholds .prevalence").fill("50")
    check(rare != page.locator("[data-out=ppv]").inner_text(), "the prevalence does not change the predictive value")


def drawn(page):
    """What the canvas shows."""
    return page.locator(".stage canvas").first.evaluate("c => c.toDataURL()")


def ready(page):
    page.locator(".stage .tools").first.wait_for()
    # The policy of the page forbids what wait_for_function does.
    for _ in range(100):
        page.wait_for_timeout(100)
        if page.locator(".stage .status").first.inner_text() == "":
            return
    check(False, f"the image is not shown: {page.locator('.stage .status').first.inner_text()}")


def case(page, address, program, run, folder):
    """An image: its map against predict's, and every key."""
    page.goto(address)
    page.locator(".worklist .to-case").first.click()
    ready(page)
    path = page.locator("h1").inner_text()
    file = page.locator(".facts code").inner_text()
    out = folder / "predicted"
    shutil.rmtree(out, ignore_errors=True)
    data = next(Path(root) for root in roots(run) if (Path(root) / path).is_file())
    subprocess.run([program, "predict", run, data / path, "--out", out, "--no-pictures", "--allow-phantom-model"],
                   check=True, capture_output=True)
    predicted = json.loads((out / "predictions.jsonl").read_text().splitlines()[0])
    check(predicted["image_sha256"] == file, "the page names another file")
    if page.locator(".stage .certainty").count():
        if predicted.get("green_share") is not None:
            share = page.locator(".stage .share").inner_text()
            check(share == f"{100 * predicted['green_share']:.1f} %", f"green {share}, not {predicted['green_share']}")
        # From certain pixels, of which there may be none, to the heat map, to none, and back.
        keyed(page, "m")
        keyed(page, "m")
        keyed(page, "m", changes=False)
        page.locator(".stage .certainty").focus()
        page.keyboard.press("Home")
        check(page.locator(".stage .share").inner_text() != "0.0 %", "no pixel is green at the lowest certainty")
    for key in ["+", "ArrowRight", "ArrowDown", "1", "i", "r", "0"]:
        keyed(page, key)
    if page.locator(".stage .truth").count():
        keyed(page, "t")
    box = page.locator(".stage canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    readout = page.locator(".stage .readout").inner_text()
    check(re.match(r"column \d+, row \d+: (grey|colour) ", readout), f"the readout is {readout!r}")
    before = drawn(page)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(150)
    check(drawn(page) != before, "the wheel does not enlarge a focused image")
    keyed(page, "0", changes=None)
    before = drawn(page)
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4, steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_timeout(150)
    check(drawn(page) != before, "dragging with Shift does not change the window")
    page.locator(".stage .view").focus()
    page.keyboard.press("j")
    page.wait_for_url("**#image")
    ready(page)
    check(page.locator("h1").inner_text() != path, "J does not lead to the next image")
    check(page.evaluate("document.activeElement.className") .startswith("view"), "the next image does not have the focus")
    page.keyboard.press("k")
    page.wait_for_timeout(500)
    check(page.locator("h1").inner_text() == path, "K does not lead back")
    print(f"  case: {path}")


def keyed(page, key, changes=True):
    page.locator(".stage .view").first.focus()
    before = drawn(page)
    page.keyboard.press(key)
    page.wait_for_timeout(250)
    if changes:
        check(drawn(page) != before, f"the key {key} changes nothing")


def roots(run):
    """Folders in which the run's images may be."""
    manifest = (run / "resolved.toml").read_text()
    named = re.findall(r'dir = "([^"]+)"', manifest)
    return named + [str(p) for p in run.resolve().parents[1].glob("phantoms/*")] + [
        str(p) for p in run.resolve().parents[1].rglob("*") if p.is_dir()]


def new_images(page, address, run):
    page.goto(f"{address}/new")
    rows = rows_of(run, "manifest.csv")
    images = [next(Path(r) / row["path"] for r in roots(run) if (Path(r) / row["path"]).is_file()) for row in rows[:2]]
    page.locator("#files").set_input_files([*images, __file__])
    page.locator("button[type=submit]").click()
    page.wait_for_load_state()
    seen = page.locator(".seen")
    check(seen.count() == 3, f"{seen.count()} images on the page, not 3")
    check("Not predicted" in seen.first.inner_text(), "what is no image is not first")
    page.locator(".stage canvas").first.wait_for()
    page.wait_for_timeout(500)
    check(page.locator(".stage canvas:visible").count() >= 1, "no image is drawn")
    print(f"  new images: {[s.locator('h2').inner_text() for s in seen.all()]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--program", required=True)
    parser.add_argument("--axe", type=Path, required=True, help="axe.min.js of axe-core")
    parser.add_argument("--chromium", help="the browser; otherwise playwright's own")
    parser.add_argument("--shots", type=Path, required=True, help="folder for pictures of the pages")
    args = parser.parse_args()
    args.shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        browser = Browser(chromium, args.axe.read_text(), args.shots)
        with served(args.program, "view", str(args.run), "--bind", "127.0.0.1:0") as address:
            page = browser.page(1280, "light")
            worklist(page, address, args.run)
            case(page, address, args.program, args.run, args.shots)
            for name, width, scheme in VIEWS:
                page = browser.page(width, scheme)
                page.goto(address)
                page.wait_for_load_state("networkidle")
                browser.look(page, f"worklist-{name}", width)
                page.locator(".worklist .to-case").first.click()
                ready(page)
                browser.look(page, f"case-{name}", width)
                page.close()
            page = browser.page(1280, "light", java_script_enabled=False)
            page.goto(address)
            page.locator(".worklist .to-case").first.click()
            check(page.locator(".stage img:visible").count() == 1, "without a script there is no picture")
            check(page.locator(".tools:visible").count() == 0, "tools are shown without their script")
        token = args.shots / "token"
        token.write_text("a-token-for-this-check\n")
        with served(args.program, "serve", str(args.run), "--bind", "127.0.0.1:0", "--allow-phantom-model",
                    "--audit", str(args.shots / "audit.jsonl"), "--token-file", str(token)) as address:
            password = {"username": "reader", "password": "a-token-for-this-check"}
            page = browser.page(1280, "light", http_credentials=password)
            new_images(page, address, args.run)
            browser.look(page, "new-images", 1280)
            page = browser.page(320, "dark", http_credentials=password)
            new_images(page, address, args.run)
            browser.look(page, "new-images-narrow", 320)
        chromium.close()
    print(f"{args.run}: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
