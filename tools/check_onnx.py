"""Compares exported ONNX models in ONNX Runtime with the answers of this program; run by crates/export/tests/onnx.rs.

    python tools/check_onnx.py CASES.json

Needs onnx, onnxruntime, NumPy and Pillow. Each model passes onnx.checker with shape inference, and is run on each picture
alone and on all pictures of its size as one batch. Probabilities may differ by 1e-4 where the picture has the network's
size, and by 1e-2 where it was resized: our resizing rounds to 8 bits between its two passes, ONNX Runtime's does not.
With weights of 16 bits the bounds are 5e-2, for the map on its mean difference. Prints a row a model: the largest
differences of probabilities at the network's size and resized, and of the map.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime
from PIL import Image

EXACT, RESIZED, HALF = 1e-4, 1e-2, 5e-2


def pixels(path):
    image = np.asarray(Image.open(path), dtype=np.float32)
    return (image[None] if image.ndim == 2 else image.transpose(2, 0, 1))[None]


def difference(ours, theirs):
    return float(np.abs(np.asarray(ours) - np.asarray(theirs)).max()) if len(ours) else 0.0


def compared(answer, found, i, exact):
    """The differences of probabilities, of logits (for the message only) and of the map."""
    own = {"probabilities": 0.0, "map": 0.0}
    if answer["probabilities"]:
        own["probabilities"] = difference(answer["probabilities"], found["probabilities"][i])
        logits = np.asarray(answer["logits"])
        scale = max(1.0, np.abs(logits).max())
        own["logits"] = difference(logits, found["logits"][i]) / scale
    if answer["map"]:
        theirs = found["map"][i]
        ours = np.fromfile(answer["map"]["file"], np.float32).reshape(*theirs.shape[1:], answer["map"]["channels"])
        shown = answer["map"]["shown"]
        theirs = theirs.transpose(1, 2, 0) if shown is None else theirs[shown, ..., None]
        differs = np.abs(ours - theirs)
        own["map"] = float(differs.max() if exact else differs.mean())
    return own


def check(case):
    model = onnx.load(case["model"])
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(case["model"], providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    scale = np.array([255], np.float32)
    worst = {"own size": 0.0, "resized": 0.0, "map": 0.0}
    faults = []

    def run(images):
        return dict(zip(names, session.run(None, {"image": images, "full_scale": scale})))

    own = [answer for answer in case["answers"] if answer["own_size"]]
    together = run(np.concatenate([pixels(answer["image"]) for answer in own]))
    for answer in case["answers"]:
        alone = [(run(pixels(answer["image"])), 0)]
        batched = [(together, own.index(answer))] if answer in own else []
        for found, i in alone + batched:
            differs = compared(answer, found, i, case["exact"])
            kind = "own size" if answer["own_size"] else "resized"
            worst[kind] = max(worst[kind], differs["probabilities"])
            worst["map"] = max(worst["map"], differs["map"])
            bound = RESIZED if kind == "resized" else EXACT
            bound = bound if case["exact"] else HALF
            if not max(differs["probabilities"], differs["map"]) <= bound:
                faults.append(f"{kind}: {differs}")
            # Where the scores are as close to the threshold as the two programs are to each other, both classes are right.
            if answer["class"] is not None and case["exact"] and answer["own_size"] and found["class"][i] != answer["class"]:
                faults.append(f"class {found['class'][i]} instead of {answer['class']}")
    print(f"| {case['name']} | {worst['own size']:.1e} | {worst['resized']:.1e} | {worst['map']:.1e} |")
    return faults


def main():
    with open(sys.argv[1]) as file:
        cases = json.load(file)
    faults = [f"{case['name']}: {fault}" for case in cases for fault in check(case)]
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(1 if faults else 0)


main()
