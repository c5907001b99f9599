"""Makes reference.json: the outputs of torchvision, PyTorch, scipy and Pillow for one small image.

python crates/augment/tests/reference.py   (torch, torchvision, scipy, Pillow)
"""
import io
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import gaussian_filter
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as TF

HEIGHT, WIDTH, CHANNELS = 7, 9, 3
rng = np.random.default_rng(0)
# Multiples of 1/256 are exact in f32 and short in JSON.
picture = rng.integers(0, 257, (HEIGHT, WIDTH, CHANNELS)) / 256
grey = np.repeat(rng.integers(0, 257, (HEIGHT, WIDTH, 1)) / 256, CHANNELS, axis=2)
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
smooth = np.dstack([(y * 20 + x * 7) / 256, (x * x * 2) / 256, (200 - y * y * 3) / 256])
mask = (rng.random((HEIGHT, WIDTH, 1)) < 0.5).astype(float)


def chw(image):
    return torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)


def flat(tensor):
    return [round(float(v), 7) for v in tensor.permute(1, 2, 0).contiguous().flatten()]


# No angle or zoom puts a point halfway between two pixels, where the nearest is ambiguous.
GEOMETRY = [
    dict(rotation=31.0, flip=[False, False], zoom=1.0, shear=0.0, shift=[0, 0]),
    dict(rotation=-17.0, flip=[True, False], zoom=1.3, shear=0.0, shift=[1, -2]),
    dict(rotation=0.0, flip=[False, True], zoom=0.6, shear=20.0, shift=[0, 1]),
    dict(rotation=100.0, flip=[True, True], zoom=0.8, shear=-35.0, shift=[-3, 2]),
]


def torchvision_affine(image, g, interpolation):
    image = TF.horizontal_flip(image) if g["flip"][0] else image
    image = TF.vertical_flip(image) if g["flip"][1] else image
    return TF.affine(image, angle=g["rotation"], translate=g["shift"], scale=g["zoom"],
                     shear=[g["shear"], 0.0], interpolation=interpolation, fill=None)


def theta(g):
    """The forward map as a product of homogeneous matrices in pixels, inverted, in grid_sample's units."""
    angle, shear = math.radians(g["rotation"]), math.radians(g["shear"])
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    shear = np.array([[1, -math.tan(shear), 0], [0, 1, 0], [0, 0, 1]])
    size = np.diag([g["zoom"], g["zoom"], 1])
    flip = np.diag([-1 if g["flip"][0] else 1, -1 if g["flip"][1] else 1, 1])
    move = np.eye(3)
    move[:2, 2] = g["shift"]
    to_unit = np.diag([2 / WIDTH, 2 / HEIGHT, 1])
    return torch.tensor((to_unit @ np.linalg.inv(move @ turn @ size @ shear @ flip) @ np.linalg.inv(to_unit))[None, :2])


def grid_sample(image, g, padding, shifts=None, mode="bilinear"):
    """With shifts of a coarse grid, in pixels, each point is first displaced by their bicubic interpolation."""
    grid = F.affine_grid(theta(g), (1, CHANNELS, HEIGHT, WIDTH), align_corners=False)
    if shifts is not None:
        field = F.interpolate(torch.tensor(shifts).permute(2, 0, 1)[None], size=(HEIGHT, WIDTH), mode="bicubic",
                              align_corners=True)
        field = field.permute(0, 2, 3, 1) * torch.tensor([2 / WIDTH, 2 / HEIGHT])
        grid = grid + field @ theta(g)[0, :, :2].T  # the map is affine, so a displacement before it equals one after it
    image = image.double()[None]
    return F.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=False)[0]


def elastic_case(g, points, sigma, rng):
    shifts = np.round(rng.normal(0, sigma, (points, points, 2)), 3)
    return dict(g, shift=[g["shift"][0] / WIDTH, g["shift"][1] / HEIGHT], grid=points,
                shifts=shifts.reshape(-1, 2).tolist(),
                constant=flat(grid_sample(chw(picture), g, "zeros", shifts)),
                nearest=flat(grid_sample(chw(picture), g, "border", shifts)),
                reflect=flat(grid_sample(chw(picture), g, "reflection", shifts)),
                mask=flat(grid_sample(chw(mask), g, "zeros", shifts, "nearest")))


def jpeg_case(image, quality):
    """Tiled, because seven rows are less than a block; without subsampling, as JPEG at high quality."""
    eight = np.tile(np.round(image * 255).astype(np.uint8), (3, 3, 1))
    file = io.BytesIO()
    Image.fromarray(eight).save(file, "JPEG", quality=quality, subsampling=0)
    return dict(quality=quality, image=eight.flatten().tolist(),
                expected=np.asarray(Image.open(file)).flatten().tolist())


def main():
    cases = []
    for g in GEOMETRY:
        case = dict(g)
        case["shift"] = [g["shift"][0] / WIDTH, g["shift"][1] / HEIGHT]
        case["constant"] = flat(torchvision_affine(chw(picture), g, InterpolationMode.BILINEAR))
        case["mask"] = flat(torchvision_affine(chw(mask), g, InterpolationMode.NEAREST))
        case["nearest"] = flat(grid_sample(chw(picture), g, "border"))
        case["reflect"] = flat(grid_sample(chw(picture), g, "reflection"))
        cases.append(case)
    light = [
        dict(name="brightness", value=1.4, expected=flat(TF.adjust_brightness(chw(picture), 1.4))),
        dict(name="contrast", value=0.6, expected=flat(TF.adjust_contrast(chw(grey), 0.6))),
        dict(name="contrast", value=1.7, expected=flat(TF.adjust_contrast(chw(grey), 1.7))),
        dict(name="gamma", value=0.7, expected=flat(TF.adjust_gamma(chw(picture), 0.7))),
    ]
    for sigma in (0.4, 1.0, 3.0):
        blurred = gaussian_filter(picture, sigma, mode="reflect", truncate=3, axes=(0, 1))
        light.append(dict(name="blur", value=sigma, expected=flat(chw(blurred))))
    straight = dict(rotation=0.0, flip=[False, False], zoom=1.0, shear=0.0, shift=[0, 0])
    bends = np.random.default_rng(5)
    elastic = [elastic_case(g, points, sigma, bends)
               for g, points, sigma in [(straight, 3, 1.0), (straight, 2, 2.0), (GEOMETRY[1], 4, 0.7), (GEOMETRY[3], 5, 1.5)]]
    out = dict(height=HEIGHT, width=WIDTH, picture=flat(chw(picture)), grey=flat(chw(grey)),
               mask=flat(chw(mask)), geometry=cases, light=light, elastic=elastic,
               jpeg=[jpeg_case(i, q) for i in (smooth, picture) for q in (10, 50, 90)])
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
