"""The counterparts of bench.rs: torchvision v2 and albumentations, with the same transforms on the same cores.

python crates/augment/examples/peer.py

Each library runs as in a typical data loader: 1 process, then 2 processes, each library on one thread; torchvision also
as one process with two threads. Best of many short rounds, in images per second; the bests of two processes are added,
which favours these libraries.
"""
import multiprocessing as mp
import time
import warnings

import numpy as np

SIDE, BATCH, ROUNDS, SECONDS = 224, 16, 60, 0.05


def pictures(dtype):
    pixels = np.arange(SIDE * SIDE * 3)
    images = [((pixels * 31 + i * 17) % 255).astype(np.uint8).reshape(SIDE, SIDE, 3) for i in range(BATCH)]
    return images if dtype == "uint8" else [image.astype(np.float32) / 255 for image in images]


def torchvision_step(dtype, threads=1):
    import torch
    from torchvision.transforms import InterpolationMode, v2

    torch.set_num_threads(threads)
    step = v2.Compose([
        v2.RandomHorizontalFlip(0.5),
        v2.RandomAffine(15, scale=(0.9, 1.1), interpolation=InterpolationMode.BILINEAR),
        v2.ColorJitter(brightness=(0.8, 1.2)),
    ])
    images = [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in pictures(dtype)]
    return step, images


def albumentations_step(dtype):
    import albumentations as A
    import cv2

    cv2.setNumThreads(1)
    step = A.Compose([
        A.HorizontalFlip(p=0.5),
        A.Affine(rotate=(-15, 15), scale=(0.9, 1.1), interpolation=cv2.INTER_LINEAR, p=1.0),
        A.RandomBrightnessContrast(brightness_limit=(-0.2, 0.2), contrast_limit=(0, 0), p=1.0),
    ])
    return lambda image: step(image=image)["image"], pictures(dtype)


def opencv_step(dtype):
    """No augmentation library: three direct OpenCV calls, with the least Python that does the job."""
    import cv2

    cv2.setNumThreads(1)
    draw = np.random.default_rng(0)

    def step(image):
        if draw.random() < 0.5:
            image = cv2.flip(image, 1)
        matrix = cv2.getRotationMatrix2D((111.5, 111.5), draw.uniform(-15, 15), draw.uniform(0.9, 1.1))
        image = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
        factor = draw.uniform(0.8, 1.2)
        if image.dtype == np.uint8:
            return cv2.convertScaleAbs(image, alpha=factor)
        return np.clip(cv2.multiply(image, (factor,) * 4), 0, 1)

    return step, pictures(dtype)


STEPS = {"torchvision": torchvision_step, "albumentations": albumentations_step, "opencv": opencv_step}


def rate(job):
    name, dtype, options = job
    warnings.simplefilter("ignore")
    step, images = STEPS[name](dtype, **options)
    for image in images[:8]:
        step(image)
    best = 0.0
    for _ in range(ROUNDS):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < SECONDS:
            for image in images:
                step(image)
            count += len(images)
        best = max(best, count / (time.perf_counter() - start))
    return best


def main():
    context = mp.get_context("spawn")
    for name in STEPS:
        for dtype in ("uint8", "float32"):
            for processes in (1, 2):
                with context.Pool(processes) as pool:
                    total = sum(pool.map(rate, [(name, dtype, {})] * processes, chunksize=1))
                print(f"{name} {dtype}, {processes} process(es): {total:.0f} images/s", flush=True)
    with context.Pool(1) as pool:
        total = pool.map(rate, [("torchvision", "float32", {"threads": 2})])[0]
    print(f"torchvision float32, 1 process, 2 threads: {total:.0f} images/s")


if __name__ == "__main__":
    main()
