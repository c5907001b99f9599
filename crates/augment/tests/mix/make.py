"""Makes expected.json: batches mixed by timm's mixup and cutmix, their targets, and PyTorch's losses on such targets.

    python crates/augment/tests/mix/make.py      (torch, timm 1.0.31, numpy)
"""
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from timm.data import mixup as timm_mixup

CLASSES, CHANNELS = 3, 2
rng = np.random.default_rng(0)


def short(tensor):
    return [float(f"{float(v):.9g}") for v in tensor.detach().flatten()]


def nhwc(tensor):
    return short(tensor.permute(0, 2, 3, 1).contiguous())


class Draws:
    """Stands in for numpy's generator in timm's module: the given share, and the given centre of the box."""

    def __init__(self, share, centre):
        self.share, self.centre = share, list(centre)

    def rand(self, *_):
        return 0.0

    def beta(self, *_):
        return self.share

    def randint(self, low, high, size=None):
        value = self.centre.pop(0)
        assert low <= value < high
        return value


def mixed(kind, size, share, centre=(0, 0), smoothing=0.0, images=4):
    x = torch.tensor(rng.integers(-256, 257, (images, CHANNELS, *size)) / 256, dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, CLASSES, images))
    before = nhwc(x)
    alphas = dict(mixup_alpha=1.0) if kind == "mixup" else dict(mixup_alpha=0.0, cutmix_alpha=1.0)
    mix = timm_mixup.Mixup(**alphas, label_smoothing=smoothing, num_classes=CLASSES)
    real, timm_mixup.np.random = timm_mixup.np.random, Draws(share, centre)
    try:
        x, target = mix(x, labels)
    finally:
        timm_mixup.np.random = real
    return dict(kind=kind, size=size, share=share, centre=centre, smoothing=smoothing, before=before,
                labels=labels.tolist(), images=nhwc(x), targets=short(target))


BATCHES = [mixed("mixup", (3, 4), 0.3), mixed("mixup", (3, 4), 0.85, smoothing=0.1, images=6)]
# In the middle, cut off at each corner, all of the image, nothing.
for size, share, centre in [((7, 10), 0.7, (3, 5)), ((7, 10), 0.4, (0, 0)), ((7, 10), 0.4, (6, 9)), ((8, 6), 0.55, (0, 5)),
                            ((8, 6), 0.0, (4, 3)), ((8, 6), 0.999, (2, 2)), ((5, 5), 0.5, (4, 1))]:
    BATCHES.append(mixed("cutmix", size, share, centre, smoothing=0.1 if share == 0.7 else 0.0, images=2))


def loss(kind, x, labels, share, weights, smoothing):
    """PyTorch's cross-entropy with probabilities as targets; softmax_bce in double from its definition."""
    x = x.clone().double().requires_grad_()
    labels = torch.tensor(labels)
    hard = F.one_hot(labels, CLASSES).double()
    soft = share * hard + (1 - share) * hard.flip(0)
    weight = torch.tensor(weights).double() if weights else torch.ones(CLASSES).double()
    if kind == "cross_entropy":
        y = F.cross_entropy(x, soft, weight, label_smoothing=smoothing)
    else:
        t = soft * (1 - smoothing) + 0.5 * smoothing
        log_p = x.log_softmax(1)
        rest = [x[:, [j for j in range(CLASSES) if j != k]].logsumexp(1) for k in range(CLASSES)]
        log_q = torch.stack(rest, 1) - x.logsumexp(1, keepdim=True)
        entropy = -(t * log_p + (1 - t) * log_q).mean(1)
        y = (entropy * (soft @ weight)).mean()
    y.backward()
    return dict(kind=kind, x=short(x), labels=labels.tolist(), share=share, weights=weights, smoothing=smoothing,
                loss=y.item(), gradient=short(x.grad))


torch.manual_seed(1)
LOSSES = [loss(kind, (torch.randn(5, CLASSES) * 2).float(), [0, 2, 1, 1, 0], share, weights, smoothing)
          for kind in ["cross_entropy", "softmax_bce"] for share in [0.25, 0.9, 1.0] for weights in [None, [0.5, 2.0, 1.25]]
          for smoothing in [0.0, 0.2]]

path = pathlib.Path(__file__).with_name("expected.json")
path.write_text(json.dumps(dict(channels=CHANNELS, classes=CLASSES, batches=BATCHES, losses=LOSSES)) + "\n")
