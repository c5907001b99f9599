"""Makes losses.json: loss cases that PyTorch and segmentation_models.pytorch compute, with gradients.

Run: python losses.py > losses.json      (torch 2.15, segmentation_models_pytorch 0.6, keras 3)
"""
import json
import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss, TverskyLoss
from segmentation_models_pytorch.losses._functional import focal_loss_with_logits

# Drawn from a separate generator, so that the random numbers of the later cases do not change.
SMOOTHED = torch.randn(4, 3, generator=torch.Generator().manual_seed(8)).double() * 2
torch.manual_seed(7)
cases = []


def flat(t):
    return [float(f"{v:.9g}") for v in t.detach().flatten().tolist()]


def case(kind, x, f, **attributes):
    x = x.clone().requires_grad_()
    y = f(x)
    y.backward()
    cases.append(dict(kind=kind, shape=list(x.shape), x=flat(x), y=y.item(), dx=flat(x.grad), **attributes))


def classes(x, labels, **attributes):
    weight = attributes.get("weights") and torch.tensor(attributes["weights"])
    smooth = attributes.get("label_smoothing", 0.0)
    t = torch.tensor(labels)
    case("cross_entropy", x, lambda x: F.cross_entropy(x, t, weight, label_smoothing=smooth), labels=labels, **attributes)


classes(torch.randn(4, 3) * 2, [2, 0, 1, 1])
classes(torch.randn(4, 3) * 2, [2, 0, 1, 1], weights=[0.5, 2.0, 1.25])
classes(torch.randn(4, 3) * 2, [2, 0, 1, 1], weights=[0.5, 2.0, 1.25], label_smoothing=0.2)
classes(torch.tensor([[200.0, -200.0], [-90.0, 110.0]]), [1, 1])  # softmax underflows

# Softmax, then binary cross-entropy of every class; f64, because PyTorch's own f32 is inaccurate near p = 1. Labels are
# smoothed as in Keras: each class's label moves towards 1/2, regardless of the number of classes.
for scale, labels, smooth in [(2.0, [2, 0, 1, 1], 0.0), (30.0, [0, 2, 1, 0], 0.0), (2.0, [1, 0, 2, 2], 0.2)]:
    onehot = F.one_hot(torch.tensor(labels), 3).double() * (1 - smooth) + 0.5 * smooth
    x = (torch.randn(4, 3) * scale).double() if smooth == 0 else SMOOTHED

    def bce(x):
        log_p = x.log_softmax(1)
        others = torch.stack([x[:, [j for j in range(3) if j != k]].logsumexp(1) for k in range(3)], 1)
        log_q = others - x.logsumexp(1, keepdim=True)
        return -(onehot * log_p + (1 - onehot) * log_q).mean()

    if smooth == 0:
        case("softmax_bce", x, bce, labels=labels)
        continue
    keras_says = keras.losses.BinaryCrossentropy(label_smoothing=smooth)(F.one_hot(torch.tensor(labels), 3).float(), x.float().softmax(1))
    assert abs(keras_says.item() - bce(x).item()) < 1e-6, (keras_says, bce(x))
    case("softmax_bce", x, bce, labels=labels, label_smoothing=smooth)

# Maps are NHWC; the marked class is 1 of 3, so its log odds against the others are the binary logit.
mask = (torch.rand(2, 4, 5) > 0.6).float()
known = torch.rand(2, 4, 5) > 0.2


def odds(x):
    return x[..., 1] - x[..., [0, 2]].logsumexp(-1)


def mapped(kind, f, mask, **attributes):
    case(kind, torch.randn(2, 4, 5, 3) * 2, lambda x: f(odds(x)), mask=flat(mask), **attributes)


def focal(z, t):
    return focal_loss_with_logits(z, t, gamma=1.5, alpha=0.4)


dice = DiceLoss("binary", smooth=1.0)
mapped("bce", lambda z: F.binary_cross_entropy_with_logits(z, mask), mask)
mapped("dice", lambda z: dice(z, mask), mask)
mapped("bce_dice", lambda z: F.binary_cross_entropy_with_logits(z, mask) + dice(z, mask), mask)
mapped("focal", lambda z: focal(z, mask), mask, alpha=0.4, gamma=1.5)
# Unknown pixels (written as 2, read as NaN) do not count.
holes = torch.where(known, mask, torch.tensor(2.0))
mapped("bce", lambda z: F.binary_cross_entropy_with_logits(z[known], mask[known]), holes)
mapped("dice", lambda z: dice(z[known][None], mask[known][None]), holes)
mapped("focal", lambda z: focal(z[known], mask[known]), holes, alpha=0.4, gamma=1.5)
# Tversky: separate weights for false positives and false negatives, which sum to 1 or not.
for alpha, beta in [(0.3, 0.7), (0.5, 0.9)]:
    tversky = TverskyLoss("binary", smooth=1.0, alpha=alpha, beta=beta)
    mapped("tversky", lambda z: tversky(z, mask), mask, alpha=alpha, beta=beta)
    mapped("tversky", lambda z: tversky(z[known][None], mask[known][None]), holes, alpha=alpha, beta=beta)

# Pixel weights: means of weight · loss; in Dice they multiply the terms of every sum.
weights = torch.rand(2, 4, 5) * 3
weights[0, 0] = 0


def weighted_dice(z):
    p = z.sigmoid()
    return 1 - ((weights * p * mask).sum() + 1) / (0.5 * (weights * (p + mask)).sum() + 1)


mapped("bce", lambda z: F.binary_cross_entropy_with_logits(z, mask, weights), mask, pixel_weights=flat(weights))
mapped("dice", weighted_dice, mask, pixel_weights=flat(weights))
mapped("focal", lambda z: (weights * focal_loss_with_logits(z, mask, 1.5, 0.4, reduction="none")).mean(), mask,
       alpha=0.4, gamma=1.5, pixel_weights=flat(weights))

# Over all classes; class 3 occurs in no mask. 255 is ignored.
labels = torch.randint(0, 3, (2, 4, 6))
ignored = torch.where(torch.rand(2, 4, 6) > 0.3, labels, torch.tensor(255))
weights = torch.rand(2, 4, 6) * 3


def planar(x):
    return x.permute(0, 3, 1, 2)


def all_classes(kind, f, mask, **attributes):
    case(kind, torch.randn(2, 4, 6, 4) * 2, lambda x: f(planar(x), mask), mask=flat(mask.float()), **attributes)


def weighted_entropy(x, t):
    return (weights * F.cross_entropy(x, t, reduction="none")).mean()


every = DiceLoss("multiclass", smooth=1.0)
but_ignored = DiceLoss("multiclass", smooth=1.0, ignore_index=255)
all_classes("cross_entropy", F.cross_entropy, labels)
all_classes("cross_entropy", lambda x, t: F.cross_entropy(x, t, ignore_index=255), ignored, ignore=255)
all_classes("cross_entropy", weighted_entropy, labels, pixel_weights=flat(weights))
all_classes("multiclass_dice", every, labels)
all_classes("multiclass_dice", but_ignored, ignored, ignore=255)
all_classes("cross_entropy_dice", lambda x, t: F.cross_entropy(x, t) + every(x, t), labels)

# Maps of half and of a third of the masks' size sample the pixel at the centre of each cell.
for step in [2, 3]:
    big = torch.randint(0, 4, (2, 4 * step, 6 * step))
    seen = F.interpolate(big[:, None].float(), size=(4, 6), mode="nearest-exact")[:, 0].long()
    case("cross_entropy", torch.randn(2, 4, 6, 4) * 2, lambda x: F.cross_entropy(planar(x), seen), mask=flat(big.float()),
         step=step)
print(json.dumps(cases))
