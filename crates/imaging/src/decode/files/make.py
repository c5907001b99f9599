"""Small files for the tests of the decoder, and Pillow's results for them: python3 make.py (Pillow 13).

JPEGs in every coding; `expected.json` has the result of `ImageOps.exif_transpose` for an image of 2 rows and 3 columns
in each orientation, and the means of the JPEGs.
"""
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

here = Path(__file__).parent
y, x = np.mgrid[0:43, 0:59]
r = np.random.default_rng(0)
grey = np.clip(120 + 60 * np.sin(x / 5) + 40 * np.cos(y / 7) + r.normal(0, 8, x.shape), 0, 255).astype(np.uint8)
rgb = np.dstack([grey, grey[::-1], np.roll(grey, 9, 1)])
kinds = {
    "grey": (grey, {}),
    "full": (rgb, {"subsampling": 0}),
    "halved": (rgb, {"subsampling": 2}),
    "restarts": (rgb, {"subsampling": 2, "restart_marker_blocks": 3}),
    "progressive": (rgb, {"subsampling": 2, "progressive": True}),
    "progressive-grey": (grey, {"progressive": True, "restart_marker_rows": 1}),
    "optimized": (grey, {"optimize": True}),
}
means = {}
for name, (pixels, how) in kinds.items():
    path = here / f"{name}.jpeg"
    Image.fromarray(pixels).save(path, quality=70, **how)
    means[name] = float(np.asarray(Image.open(path)).mean())
Image.fromarray(rgb).convert("CMYK").save(here / "cmyk.jpeg", quality=70)

shown = {}
for orientation in range(1, 9):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.array([[10, 20, 30], [40, 50, 60]], np.uint8)).save(file, "PNG", exif=exif)
    (here / f"orientation-{orientation}.png").write_bytes(file.getvalue())
    shown[orientation] = np.asarray(ImageOps.exif_transpose(Image.open(file))).tolist()

indices = Image.fromarray((np.arange(35).reshape(5, 7) % 3).astype(np.uint8), "P")
for bits, colours in ((2, 3), (8, 256)):
    indices.putpalette(([0, 0, 0, 128, 0, 0, 0, 128, 0] + [9] * 759)[: 3 * colours])
    indices.save(here / f"palette-{bits}.png")
(here / "expected.json").write_text(json.dumps({"means": means, "shown": shown}) + "\n")
