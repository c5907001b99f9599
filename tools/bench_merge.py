#!/usr/bin/env python3
"""Makes a finished job of many images out of a small one, to measure `merge`: its rows are repeated with other numbers.

    python3 tools/bench_merge.py FOLDER OUT --rows 1000000 --shards 64
    /usr/bin/time -v target/release/eff-unet merge OUT

FOLDER is one in which `predict` has predicted some images in a single process; OUT holds job.json and parts/ of the large
job afterwards.
"""

import argparse
import hashlib
import json
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=64)
    arguments = parser.parse_args()
    job = json.loads((arguments.folder / "job.json").read_text())
    lines = (arguments.folder / "predictions.jsonl").read_text().splitlines()
    # What follows the number of the row, and the name of the image in it.
    rest = [line.split(",", 1)[1] for line in lines]
    names = [Path(json.loads(line)["image"]).stem for line in lines]
    parts = arguments.out / "parts"
    parts.mkdir(parents=True)
    job |= {"images": arguments.rows, "shards": arguments.shards}
    (arguments.out / "job.json").write_text(json.dumps(job))
    size = 0
    for shard in range(arguments.shards):
        name, failed = f"{shard + 1}-of-{arguments.shards}", 0
        digest = hashlib.sha256()
        with open(parts / f"{name}.jsonl", "wb") as journal:
            for batch in range(shard, -(-arguments.rows // job["batch_size"]), arguments.shards):
                for row in range(batch * job["batch_size"], min(arguments.rows, (batch + 1) * job["batch_size"])):
                    which = row % len(rest)
                    text = rest[which].replace(names[which], f"{names[which]}-{row}")
                    line = f'{{"row":{row},{text}\n'.encode()
                    failed += '"error":' in text
                    digest.update(line)
                    size += journal.write(line)
        record = {"failed": failed, "sha256": digest.hexdigest(), "job": job}
        (parts / f"{name}.json").write_text(json.dumps(record))
    print(f"{arguments.rows} rows, {size / 1e6:.0f} MB in {arguments.shards} journals")


if __name__ == "__main__":
    main()
