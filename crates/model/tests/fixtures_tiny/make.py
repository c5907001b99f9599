"""Expected figures for two small models with weights by formula, made with segmentation_models.pytorch and timm.

    python crates/model/tests/fixtures_tiny/make.py

writes expected.json beside itself. Figures are computed in double precision: in single precision PyTorch's own
gradients of so small a batch are off by half a percent.

The formula (`formula` here, `store` in tests/fixtures_tiny.rs) stands for a weights file: values depend on the
parameter's position among the sorted names, on its index in PyTorch's order and on its size alone.
"""
import json
import math
import pathlib

import numpy as np
import segmentation_models_pytorch as smp
import torch

CASES = [("unet", smp.Unet, "tf_efficientnet_lite0"), ("unetpp", smp.UnetPlusPlus, "efficientnet_b0")]
BATCH, SIZE, CLASSES = 2, 64, 2


def wave(n, seed):
    return np.sin(0.37 * np.arange(n, dtype=np.float64) + 1.3 * seed + 0.0007 * (np.arange(n) % 911) ** 2)


def formula(name, shape, seed):
    n = math.prod(shape)
    w = wave(n, seed)
    if name.endswith("running_var"):
        values = 1 + 0.5 * w
    elif name.endswith("running_mean") or name.endswith("bias"):
        values = 0.1 * w
    elif len(shape) == 1:
        values = 1 + 0.2 * w
    else:
        fan_in = math.prod(shape[1:])
        values = w * math.sqrt(3 / fan_in)
    return torch.tensor(values.astype(np.float32).reshape(shape))


class Article(torch.nn.Module):
    def __init__(self, arch, encoder):
        super().__init__()
        self.net = arch("tu-" + encoder, encoder_weights=None, classes=CLASSES)
        self.head = torch.nn.Linear(CLASSES, CLASSES)

    def forward(self, x):
        features = self.net.encoder(x)
        decoded = self.net.decoder(features)
        seg = self.net.segmentation_head(decoded)
        logits = self.head(seg.mean((2, 3)))
        values = {f"features.{i}": f for i, f in enumerate(features) if i > 0}
        return values | {"decoder": decoded, "map": seg, "logits": logits}


def ours(name):
    return name.removeprefix("net.").replace("encoder.model.", "encoder.")


def summary(t):
    """Shape as NHWC, mean, root mean square, and five values at equal distances in NHWC order."""
    if t.dim() == 4:
        t = t.permute(0, 2, 3, 1)
    flat = t.reshape(-1).double()
    at = [i * (flat.numel() - 1) // 4 for i in range(5)]
    return {"shape": list(t.shape), "mean": flat.mean().item(), "rms": flat.square().mean().sqrt().item(), "at": [flat[i].item() for i in at]}


def backward(model, x):
    values = model(x)
    loss = torch.nn.functional.cross_entropy(values["logits"], torch.tensor([0, 1]))
    loss.backward()
    return values, loss


def more_losses(model, x):
    """Two more after Adam steps, which are small: from 1e-4 on, rounding alone moves the third loss by 1e-3."""
    adam = torch.optim.Adam(model.parameters(), lr=1e-5)
    losses = []
    for _ in range(2):
        adam.step()
        adam.zero_grad()
        losses.append(backward(model, x)[1].item())
    return losses


def sgd_losses(model, x):
    """Three, with steps in proportion to the gradient, which unlike Adam's do not turn rounding into steps."""
    sgd = torch.optim.SGD(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(3):
        sgd.zero_grad()
        losses.append(backward(model, x)[1].item())
        sgd.step()
    return losses


def fresh(arch, encoder):
    torch.manual_seed(0)
    model = Article(arch, encoder)
    state = {ours(k): v for k, v in model.state_dict().items() if "num_batches" not in k}
    for seed, name in enumerate(sorted(state)):
        state[name].copy_(formula(name, list(state[name].shape), seed))
    return model.double()


def case(decoder, arch, encoder):
    model = fresh(arch, encoder)
    x = torch.tensor(wave(BATCH * 3 * SIZE * SIZE, 5).astype(np.float32).reshape(BATCH, SIZE, SIZE, 3)).permute(0, 3, 1, 2).double()
    model.eval()
    with torch.no_grad():
        evaluated = {k: summary(v) for k, v in model(x).items()}
    model.train()
    values, loss = backward(model, x)
    norms = {ours(k): p.grad.double().norm().item() for k, p in model.named_parameters()}
    buffers = {ours(k): v.double().norm().item() for k, v in model.named_buffers() if k.endswith(("mean", "var"))}
    chosen = sorted(norms)[:: max(1, len(norms) // 12)]
    watched = sorted(buffers)[:: len(buffers) // 4]
    return {
        "encoder": encoder,
        "decoder": decoder,
        "eval": evaluated,
        "train_logits": values["logits"].detach().double().reshape(-1).tolist(),
        "losses": [loss.item()] + more_losses(model, x),
        "sgd_losses": sgd_losses(fresh(arch, encoder).train(), x),
        "grad_norms": {k: norms[k] for k in chosen},
        "buffer_norms": {k: buffers[k] for k in watched},
        "grad_norm": math.sqrt(sum(n * n for n in norms.values())),
    }


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


path = pathlib.Path(__file__).with_name("expected.json")
path.write_text(json.dumps([rounded(case(*c)) for c in CASES], indent=1) + "\n")
