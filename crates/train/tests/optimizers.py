"""Makes optimizers.json: seven steps of PyTorch's optimizers with a changing learning rate, and of RMSprop in
TensorFlow's form (epsilon under the root), implemented in numpy f64.

Run: python optimizers.py > optimizers.json      (torch 2.15, numpy)
"""
import json

import numpy as np
import torch

torch.manual_seed(3)
STEPS, LEN = 7, 6
RATES = [0.1, 0.1, 0.1, 0.02, 0.02, 0.004, 0.004]
start, grads = torch.randn(LEN), torch.randn(STEPS, LEN)
O = torch.optim


def flat(t):
    return [float(f"{v:.9g}") for v in np.asarray(t).flatten().tolist()]


def run(make):
    p = torch.nn.Parameter(start.clone())
    o = make([p])
    out = []
    for g, lr in zip(grads, RATES):
        o.param_groups[0]["lr"] = lr
        p.grad = g.clone()
        o.step()
        out.append(p.detach().clone())
    return flat(torch.stack(out))


def frozen(make, steps):
    """The first three values belong to an encoder that has no gradient in the first steps."""
    encoder, rest = (torch.nn.Parameter(part.clone()) for part in (start[:3], start[3:]))
    o = make([encoder, rest])
    out = []
    for i, (g, lr) in enumerate(zip(grads, RATES)):
        o.param_groups[0]["lr"] = lr
        encoder.grad, rest.grad = (None if i < steps else g[:3].clone()), g[3:].clone()
        o.step()
        out.append(torch.cat([encoder, rest]).detach().clone())
    return flat(torch.stack(out))


def rmsprop(alpha, eps, momentum, decay):
    p, s, m = start.double().numpy(), 0.0, 0.0
    out = []
    for g, lr in zip(grads.double().numpy(), RATES):
        g = g + decay * p
        s = alpha * s + (1 - alpha) * g * g
        m = momentum * m + g / np.sqrt(s + eps)
        p = p - lr * m
        out.append(p)
    return flat(np.stack(out))


cases = [
    ({"name": "adam"}, run(lambda p: O.Adam(p))),
    ({"name": "adam", "betas": [0.8, 0.95], "eps": 1e-3, "weight_decay": 0.1}, run(lambda p: O.Adam(p, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1))),
    ({"name": "adamw", "weight_decay": 0.2}, run(lambda p: O.AdamW(p, weight_decay=0.2))),
    ({"name": "sgd", "momentum": 0.0}, run(lambda p: O.SGD(p))),
    ({"name": "sgd"}, run(lambda p: O.SGD(p, momentum=0.9))),
    ({"name": "sgd", "momentum": 0.7, "nesterov": True, "weight_decay": 0.05}, run(lambda p: O.SGD(p, momentum=0.7, nesterov=True, weight_decay=0.05))),
    ({"name": "rmsprop"}, rmsprop(0.9, 1e-7, 0.0, 0.0)),
    ({"name": "rmsprop", "alpha": 0.8, "eps": 1e-2, "momentum": 0.6, "weight_decay": 0.1}, rmsprop(0.8, 1e-2, 0.6, 0.1)),
]
def scaled(make):
    """The encoder's learning rate is a tenth of the rest's."""
    encoder, rest = (torch.nn.Parameter(part.clone()) for part in (start[:3], start[3:]))
    o = make([dict(params=[encoder]), dict(params=[rest])])
    out = []
    for g, lr in zip(grads, RATES):
        o.param_groups[0]["lr"], o.param_groups[1]["lr"] = 0.1 * lr, lr
        encoder.grad, rest.grad = g[:3].clone(), g[3:].clone()
        o.step()
        out.append(torch.cat([encoder, rest]).detach().clone())
    return flat(torch.stack(out))


def scaled_rmsprop(*settings):
    """As `rmsprop`, in which a step is proportional to the learning rate."""
    global RATES
    rest, rates = np.reshape(rmsprop(*settings), (STEPS, LEN)), RATES
    RATES = [0.1 * lr for lr in rates]
    encoder = np.reshape(rmsprop(*settings), (STEPS, LEN))
    RATES = rates
    return flat(np.concatenate([encoder[:, :3], rest[:, 3:]], axis=1))


scaled_cases = [
    ({"name": "adam", "weight_decay": 0.1}, scaled(lambda p: O.Adam(p, weight_decay=0.1))),
    ({"name": "adamw", "weight_decay": 0.2}, scaled(lambda p: O.AdamW(p, weight_decay=0.2))),
    ({"name": "sgd", "weight_decay": 0.05}, scaled(lambda p: O.SGD(p, momentum=0.9, weight_decay=0.05))),
    ({"name": "rmsprop", "momentum": 0.6}, scaled_rmsprop(0.9, 1e-7, 0.6, 0.0)),
]
FROZEN = 3
frozen_cases = [
    ({"name": "adam", "weight_decay": 0.1}, frozen(lambda p: O.Adam(p, weight_decay=0.1), FROZEN)),
    ({"name": "adamw", "weight_decay": 0.2}, frozen(lambda p: O.AdamW(p, weight_decay=0.2), FROZEN)),
    ({"name": "sgd", "weight_decay": 0.05}, frozen(lambda p: O.SGD(p, momentum=0.9, weight_decay=0.05), FROZEN)),
]
print(json.dumps({"frozen_steps": FROZEN, "frozen": [{"config": c, "after": a} for c, a in frozen_cases],
                  "scaled": [{"config": {**c, "encoder_lr_scale": 0.1}, "after": a} for c, a in scaled_cases],
                  "start": flat(start), "grads": flat(grads), "rates": RATES, "cases": [{"config": c, "after": a} for c, a in cases]}))
