"""Makes pillow.json: Pillow's results for a pattern that the test can generate too.

python3 -m venv v && v/bin/pip install pillow numpy && v/bin/python crates/imaging/tests/pillow.py
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def pattern(height, width, channels):
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    return ((x * 7 + y * 13 + x * y + c * 50) % 256).astype(np.uint8)


cases = []
for h, w, c, oh, ow in [(40, 50, 1, 12, 16), (40, 50, 3, 12, 16), (9, 13, 1, 24, 32), (64, 64, 1, 32, 32), (31, 17, 3, 31, 8)]:
    image = Image.fromarray(pattern(h, w, c).squeeze(), "L" if c == 1 else "RGB")
    out = np.asarray(image.resize((ow, oh), Image.Resampling.BILINEAR))
    cases.append({"from": [h, w, c], "to": [oh, ow], "values": out.reshape(-1).tolist()})
Path(__file__).with_name("pillow.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
