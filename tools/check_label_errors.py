"""Planted label errors: are they found, and does cleanlab find the same?

    python tools/check_label_errors.py plant DATA FLIPPED      a small copy of a data set with 5 % of its training labels changed
    cargo xtask experiment EXPERIMENT.toml --data FLIPPED      folds, so that every training image has an out-of-fold prediction
    python tools/check_label_errors.py judge FLIPPED RUNS/EXPERIMENT/TIME

DATA has the folders train, val (optional) and test, each with a folder per class. Needs Pillow, NumPy and cleanlab.
"""

import argparse
import csv
import json
import pathlib
import sys

import numpy as np

FLIPPED = "flipped.json"
SIDE = 128


def plant(data, to, share, seed):
    from PIL import Image

    random = np.random.default_rng(seed)
    flipped = []
    for split in ("train", "val", "test"):
        images = sorted(p for p in (data / split).rglob("*") if p.suffix.lower() in (".jpeg", ".jpg", ".png"))
        classes = sorted({p.parent.name for p in images})
        for path in images:
            given = path.parent.name
            # Only training images: `val` joins them, and the test labels stay what they are.
            if split != "test" and random.random() < share:
                given = str(random.choice([c for c in classes if c != given]))
                flipped.append(f"{split}/{given}/{path.stem}.jpeg")
            target = to / split / given / f"{path.stem}.jpeg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("L").resize((SIDE, SIDE), Image.BOX).save(target, quality=95)
    (to / FLIPPED).write_text(json.dumps(sorted(flipped)))
    print(f"{len(flipped)} labels changed")


def precision_and_recall(found, planted):
    hits = len(found & planted)
    return hits / max(len(found), 1), hits / max(len(planted), 1)


def judge(flipped, experiment):
    from cleanlab.filter import find_label_issues

    planted = set(json.loads((flipped / FLIPPED).read_text()))
    ours = json.loads((experiment / "label_errors.json").read_text())
    classes = ours["classes"]
    with open(experiment / "out_of_fold.csv", newline="") as file:
        # Without a grid there is one setting, and the column is empty.
        rows = [row for row in csv.DictReader(file) if (row["setting"] or "1") == str(ours["setting"])]
    by_path = {}
    for row in rows:
        by_path.setdefault(row["path"], []).append(row)
    paths = sorted(by_path)
    labels = np.array([classes.index(by_path[p][0]["class"]) for p in paths])
    probabilities = np.array(
        [np.mean([[float(row[f"p_{c}"]) for c in classes] for row in by_path[p]], axis=0) for p in paths]
    )
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    theirs = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence")
    found = {"ours": {e["path"] for e in ours["errors"]}, "cleanlab": {paths[i] for i in theirs}}
    known = planted & set(paths)
    print(f"{len(paths)} images, {len(known)} labels changed ({len(known) / len(paths):.1%})")
    print(f"estimated share of wrong labels: {ours['error_rate']:.1%}")
    for name, own in found.items():
        precision, recall = precision_and_recall(own, known)
        print(f"{name:9} {len(own):5} found, precision {precision:.3f}, recall {recall:.3f}")
    differ = found["ours"] ^ found["cleanlab"]
    print(f"in one list only: {len(differ)}")
    # out_of_fold.csv has six digits: an image on a threshold may fall on either side.
    return 0 if len(differ) <= max(2, len(found["cleanlab"]) // 100) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("plant")
    one.add_argument("data", type=pathlib.Path)
    one.add_argument("flipped", type=pathlib.Path)
    one.add_argument("--share", type=float, default=0.05)
    one.add_argument("--seed", type=int, default=1)
    two = commands.add_parser("judge")
    two.add_argument("flipped", type=pathlib.Path)
    two.add_argument("experiment", type=pathlib.Path)
    args = parser.parse_args()
    if args.command == "plant":
        plant(args.data, args.flipped, args.share, args.seed)
        return 0
    return judge(args.flipped, args.experiment)


if __name__ == "__main__":
    sys.exit(main())
