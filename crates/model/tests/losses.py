"""Makes losses.json: loss cases that PyTorch and segmentation_models.pytorch compute, with gradients.

Run: python losses.py > losses.json      (torch 2.15, segmentation_models_pytorch 0.6)
"""
import json

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss
from segmentation_models_pytorch.losses._functional import focal_loss_with_logits

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

# Softmax, then binary cross-entropy of every class; f64, since PyTorch's own f32 is not exact near p = 1.
for scale, labels in [(2.0, [2, 0, 1, 1]), (30.0, [0, 2, 1, 0])]:
    onehot = F.one_hot(torch.tensor(labels), 3).double()
    x = (torch.randn(4, 3) * scale).double()

    def bce(x):
        log_p = x.log_softmax(1)
        others = torch.stack([x[:, [j for j in range(3) if j != k]].logsumexp(1) for k in range(3)], 1)
        log_q = others - x.logsumexp(1, keepdim=True)
        return -(onehot * log_p + (1 - onehot) * log_q).mean()

    case("softmax_bce", x, bce, labels=labels)

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
# Unknown pixels (written as 2, read as NaN) count nowhere.
holes = torch.where(known, mask, torch.tensor(2.0))
mapped("bce", lambda z: F.binary_cross_entropy_with_logits(z[known], mask[known]), holes)
mapped("dice", lambda z: dice(z[known][None], mask[known][None]), holes)
mapped("focal", lambda z: focal(z[known], mask[known]), holes, alpha=0.4, gamma=1.5)
print(json.dumps(cases))
