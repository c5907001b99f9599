"""Makes expected.json: the crops of torchvision's RandomResizedCrop, and their distribution.

    python crates/augment/tests/random_resized_crop/make.py      (torch, torchvision, numpy)
"""
import json
import pathlib

import numpy as np
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as TF

HEIGHT, WIDTH, CHANNELS = 7, 10, 3
rng = np.random.default_rng(0)
# Multiples of 1/256 are exact in f32 and short in JSON.
picture = torch.tensor(rng.integers(0, 257, (CHANNELS, HEIGHT, WIDTH)) / 256, dtype=torch.float32)
labels = torch.tensor(rng.integers(0, 4, (1, HEIGHT, WIDTH)), dtype=torch.float32)

# Corners, edges, the middle, one row, one column, one pixel; top, left, height, width. None puts a source
# point halfway between two pixels, where the nearest is ambiguous.
WINDOWS = [(0, 0, 4, 7), (0, 7, 5, 3), (4, 0, 3, 7), (3, 1, 4, 9), (2, 2, 4, 7), (0, 4, 7, 3), (4, 0, 2, 10), (5, 1, 1, 7),
           (1, 8, 6, 1), (6, 9, 1, 1), (1, 1, 6, 9)]
FLIPPED = [(0, 7, 5, 3), (2, 2, 4, 7), (4, 0, 3, 7)]

DRAWS = 200_000
LEVELS = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
# torchvision's defaults on a square; milder ones; wide and tall images; one where about every second try is too wide.
DISTRIBUTIONS = [
    dict(size=[224, 224], area=[0.08, 1.0], ratio=[3 / 4, 4 / 3]),
    dict(size=[224, 224], area=[0.5, 1.0], ratio=[3 / 4, 4 / 3]),
    dict(size=[64, 64], area=[0.2, 0.9], ratio=[0.4, 2.5]),
    dict(size=[96, 160], area=[0.08, 1.0], ratio=[3 / 4, 4 / 3]),
    dict(size=[200, 100], area=[0.3, 1.0], ratio=[3 / 4, 4 / 3]),
]
# No window fits: too wide for a tall image, too high for a wide one, never square, and all of the image.
FALLBACKS = [
    dict(size=[40, 10], area=[1.0, 1.0], ratio=[3 / 4, 4 / 3]),
    dict(size=[41, 10], area=[0.9, 1.0], ratio=[1.0, 4 / 3]),
    dict(size=[10, 40], area=[1.0, 1.0], ratio=[3 / 4, 4 / 3]),
    dict(size=[31, 90], area=[1.0, 1.0], ratio=[1.0, 1.0]),
    dict(size=[50, 50], area=[0.9, 1.0], ratio=[0.3, 0.45]),
    dict(size=[33, 33], area=[1.0, 1.0], ratio=[1.5, 2.0]),
    dict(size=[1000, 1000], area=[1.0, 1.0], ratio=[1.0, 3.0]),
]


def flat(tensor):
    return [round(float(v), 7) for v in tensor.permute(1, 2, 0).contiguous().flatten()]


def resized(image, window, interpolation):
    return TF.resized_crop(image, *window, [HEIGHT, WIDTH], interpolation=interpolation, antialias=False)


def cut(window, flip):
    image = resized(picture, window, InterpolationMode.BILINEAR)
    mask = resized(labels, window, InterpolationMode.NEAREST_EXACT)
    if flip:
        image, mask = TF.horizontal_flip(image), TF.horizontal_flip(mask)
    return dict(window=window, flip=flip, image=flat(image), mask=[int(v) for v in flat(mask)])


def draws(case, n):
    image = torch.zeros(1, *case["size"])
    return np.array([RandomResizedCrop.get_params(image, case["area"], case["ratio"]) for _ in range(n)])


def summary(values):
    quantiles = np.quantile(values, LEVELS, method="inverted_cdf")
    return dict(n=len(values), mean=round(float(values.mean()), 9), sd=round(float(values.std()), 9),
                quantiles=[[level, round(float(q), 9)] for level, q in zip(LEVELS, quantiles)])


def place(start, length, side):
    """The window's position, from 0 at the upper or left edge to 1 at the other, for windows shorter than the side."""
    free = length < side
    return summary(start[free] / (side - length[free]))


def distribution(case):
    top, left, height, width = draws(case, DRAWS).T
    rows, columns = case["size"]
    return dict(case, area_share=summary(height * width / (rows * columns)), width_over_height=summary(width / height),
                down=place(top, height, rows), right=place(left, width, columns))


def fallback(case):
    windows = {tuple(int(v) for v in window) for window in draws(case, 300)}
    assert len(windows) == 1, (case, windows)
    return dict(case, window=windows.pop())


def main():
    torch.manual_seed(0)
    out = dict(height=HEIGHT, width=WIDTH, picture=flat(picture), labels=[int(v) for v in flat(labels)],
               crops=[cut(w, False) for w in WINDOWS] + [cut(w, True) for w in FLIPPED],
               distributions=[distribution(case) for case in DISTRIBUTIONS],
               fallbacks=[fallback(case) for case in FALLBACKS])
    path = pathlib.Path(__file__).with_name("expected.json")
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
