"""Writes reference.json: SciPy's results for random masks, for tests/reference.rs.

Run: python crates/morphology/tests/reference.py (scipy). Seeded, so the file is always the same.
"""

import json
import pathlib

import numpy as np
from scipy import ndimage

rng = np.random.default_rng(7)


def border_weights(cells, w0, sigma, balance):
    """Eq. 2 of the U-Net paper, computed directly: a distance transform for every cell."""
    labels, n = ndimage.label(cells)
    weights = np.ones(cells.shape)
    if balance and 0 < cells.sum() < cells.size:
        weights = np.where(cells, cells.size / (2 * cells.sum()), cells.size / (2 * (~cells).sum()))
    if n >= 2:
        d = np.sort([ndimage.distance_transform_edt(labels != k) for k in range(1, n + 1)], axis=0)
        weights = weights + np.where(cells, 0, w0 * np.exp(-((d[0] + d[1]) ** 2) / (2 * sigma**2)))
    return weights


def case(height, width, cells, w0=10.0, sigma=5.0, balance=True):
    labels, n = ndimage.label(cells)
    distances = ndimage.distance_transform_edt(~cells) if cells.any() else np.full(cells.shape, -1.0)
    return {
        "height": height,
        "width": width,
        "mask": cells.astype(int).ravel().tolist(),
        "labels": labels.ravel().tolist(),
        "count": n,
        "squares": np.rint(distances**2).astype(int).ravel().tolist() if cells.any() else None,
        "surface": (cells & ~ndimage.binary_erosion(cells)).astype(int).ravel().tolist(),
        "w0": w0,
        "sigma": sigma,
        "balance": balance,
        "weights": [float(f"{w:.9g}") for w in border_weights(cells, w0, sigma, balance).ravel()],
    }


def blobs(height, width, sigma, share):
    noise = ndimage.gaussian_filter(rng.normal(size=(height, width)), sigma)
    return noise > np.quantile(noise, 1 - share)


cases = [
    case(12, 17, blobs(12, 17, 1.0, 0.6)),
    case(20, 20, blobs(20, 20, 1.5, 0.7), sigma=2.0, balance=False),
    case(16, 23, rng.random((16, 23)) < 0.15, w0=4.0),
    case(9, 9, rng.random((9, 9)) < 0.9),
    case(7, 5, np.zeros((7, 5), bool)),
    case(5, 7, np.ones((5, 7), bool)),
    case(1, 12, rng.random((1, 12)) < 0.5),
    case(12, 1, rng.random((12, 1)) < 0.5),
]
path = pathlib.Path(__file__).with_name("reference.json")
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
print(path, path.stat().st_size)
