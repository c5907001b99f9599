"""Writes perceptual_hash.json: hashes by imagehash, for the tests of src/small.rs.

Run: python crates/dataset/tests/perceptual_hash.py (imagehash 4.3, scipy). Seeded: same file every time. The images are
of 32 × 32 pixels, which imagehash does not resize.
"""

import json
import pathlib

import imagehash
import numpy as np
from PIL import Image
from scipy import ndimage

rng = np.random.default_rng(20241128)


def noise():
    return rng.integers(0, 256, (32, 32))


def smooth(sigma, contrast):
    field = ndimage.gaussian_filter(rng.normal(0, 1, (32, 32)), sigma)
    return np.clip(128 + contrast * field / field.std(), 0, 255)


def gradient():
    row, column = np.mgrid[:32, :32]
    return (3 * row + 4 * column + rng.integers(0, 12, (32, 32))) % 256


images = [noise(), noise(), gradient(), gradient()]
images += [smooth(sigma, contrast) for sigma in (1, 2, 4) for contrast in (4, 30, 90)]
rows = []
for image in images:
    grey = image.astype(np.uint8)
    rows.append({"grey": grey.ravel().tolist(), "hash": str(imagehash.phash(Image.fromarray(grey)))})
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(rows, separators=(",", ":")) + "\n")
print([row["hash"] for row in rows])
