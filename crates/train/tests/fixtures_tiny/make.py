"""Computes expected values for small models with weights given by a formula, using segmentation_models.pytorch and
timm, and for the published U-Net and U-Net++, assembled from PyTorch's modules as described in the papers.

    python crates/train/tests/fixtures_tiny/make.py

writes expected.json to its own folder. Values are computed in double precision: in single precision, PyTorch's own
gradients are off by half a percent for such a small batch.

The formula (`formula` here, `store` in tests/fixtures_tiny.rs) replaces a weights file: values depend only on the
parameter's position among the sorted names, on the index in PyTorch's order and on the parameter's size.
"""
import collections
import json
import math
import pathlib

import numpy as np
import segmentation_models_pytorch as smp
import timm
import torch

BATCH, CLASSES = 2, 2


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


class EffUNet(torch.nn.Module):
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


def two_convs(inputs, out, padding):
    return torch.nn.Sequential(
        collections.OrderedDict(
            conv1=torch.nn.Conv2d(inputs, out, 3, padding=padding),
            relu1=torch.nn.ReLU(),
            conv2=torch.nn.Conv2d(out, out, 3, padding=padding),
            relu2=torch.nn.ReLU(),
        )
    )


def cropped(x, like):
    rows, columns = ((x.shape[d] - like.shape[d]) // 2 for d in (2, 3))
    return x[:, :, rows : rows + like.shape[2], columns : columns + like.shape[3]]


class UNet2015(torch.nn.Module):
    def __init__(self, base, padding):
        super().__init__()
        widths = [base << i for i in range(5)]
        self.down = torch.nn.ModuleList(two_convs(i, o, padding) for i, o in zip([3] + widths, widths))
        self.up = torch.nn.ModuleList(two_convs(2 * w, w, padding) for w in widths[:4])
        for level, w in zip(self.up, widths):
            level.up = torch.nn.ConvTranspose2d(2 * w, w, 2, stride=2)
        self.segmentation_head = torch.nn.Conv2d(base, CLASSES, 1)
        self.head = torch.nn.Linear(CLASSES, CLASSES)

    def forward(self, x):
        levels = []
        for i, level in enumerate(self.down):
            x = level(x if i == 0 else torch.nn.functional.max_pool2d(x, 2))
            levels.append(x)
        for i in (3, 2, 1, 0):
            level = self.up[i]
            x = level.up(x)
            x = level[:4](torch.cat([cropped(levels[i], x), x], 1))
        seg = self.segmentation_head(x)
        logits = self.head(seg.mean((2, 3)))
        return {"features.2": levels[2], "features.4": levels[4], "decoder": x, "map": seg, "logits": logits}


class UNetPP2018(torch.nn.Module):
    def __init__(self, base):
        super().__init__()
        widths = [base << i for i in range(5)]
        for i, w in enumerate(widths):
            self.add_module(f"x_{i}_0", two_convs(3 if i == 0 else w // 2, w, 1))
        for j in range(1, 5):
            for i in range(5 - j):
                node = two_convs((j + 1) * widths[i], widths[i], 1)
                node.up = torch.nn.ConvTranspose2d(2 * widths[i], widths[i], 2, stride=2)
                self.add_module(f"x_{i}_{j}", node)
        self.heads = torch.nn.ModuleDict({str(j): torch.nn.Conv2d(base, CLASSES, 1) for j in range(1, 5)})
        self.head = torch.nn.Linear(CLASSES, CLASSES)

    def forward(self, x):
        rows = []
        for i in range(5):
            x = self.get_submodule(f"x_{i}_0")(x if i == 0 else torch.nn.functional.max_pool2d(x, 2))
            rows.append([x])
        for j in range(1, 5):
            for i in range(5 - j):
                node = self.get_submodule(f"x_{i}_{j}")
                rows[i].append(node[:4](torch.cat([node.up(rows[i + 1][j - 1])] + rows[i], 1)))
        maps = {f"map.{j}": self.heads[str(j)](rows[0][j]) for j in range(1, 5)}
        seg = torch.stack(list(maps.values())).mean(0)
        logits = self.head(seg.mean((2, 3)))
        return maps | {"features.4": rows[4][0], "decoder": rows[0][4], "map": seg, "logits": logits}


def keras_convs(inputs, out):
    def unit(i):
        return torch.nn.Sequential(
            torch.nn.Conv2d(i, out, 3, padding=1, bias=False), torch.nn.BatchNorm2d(out, eps=1e-3), torch.nn.ReLU()
        )

    block = torch.nn.Module()
    block.conv1, block.conv2 = unit(inputs), unit(out)
    return block


class EffUNetKeras(torch.nn.Module):
    """The skips are the inputs of the first depthwise convolutions in Keras's blocks 2a, 3a, 4a and 6a."""

    def __init__(self):
        super().__init__()
        self.encoder = timm.create_model("tf_efficientnet_b1", num_classes=0)
        self.decoder = torch.nn.Module()
        channels = zip([1280 + 672, 256 + 240, 128 + 144, 64 + 96, 32], [256, 128, 64, 32, 16])
        self.decoder.blocks = torch.nn.ModuleList(keras_convs(i, o) for i, o in channels)
        self.segmentation_head = torch.nn.Sequential(torch.nn.Conv2d(16, CLASSES, 3, padding=1))
        self.head = torch.nn.Linear(CLASSES, CLASSES)
        self.skips = {}
        for level, stage in zip((1, 2, 3, 4), (1, 2, 3, 5)):
            self.encoder.blocks[stage][0].bn1.register_forward_hook(lambda m, i, y, level=level: self.skips.update({level: y}))
        for module in self.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.01

    def forward(self, x):
        x = top = self.encoder.forward_features(x)
        for block, level in zip(self.decoder.blocks, (4, 3, 2, 1, None)):
            x = torch.nn.functional.interpolate(x, scale_factor=2)
            x = block.conv2(block.conv1(x if level is None else torch.cat([x, self.skips[level]], 1)))
        seg = self.segmentation_head(x)
        features = {f"features.{i}": self.skips[i] for i in (1, 4)} | {"features.5": top}
        return features | {"decoder": x, "map": seg, "logits": self.head(seg.mean((2, 3)))}


def whole(architecture, size, module):
    return {"architecture": architecture, "base_channels": 4}, size, module


# The specification of our network, the side of the images, and the model.
CASES = [
    ({"decoder": "unet", "encoder": "tf_efficientnet_lite0"}, 64, lambda: EffUNet(smp.Unet, "tf_efficientnet_lite0")),
    ({"decoder": "unetpp", "encoder": "efficientnet_b0"}, 64, lambda: EffUNet(smp.UnetPlusPlus, "efficientnet_b0")),
    whole("unet_2015", 32, lambda: UNet2015(4, 1)),
    whole("unet_2015_valid", 188, lambda: UNet2015(4, 0)),
    whole("unetpp_2018", 32, lambda: UNetPP2018(4)),
    ({"architecture": "eff_unet_keras"}, 128, EffUNetKeras),
]


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
    """Two more losses, after small Adam steps: from 1e-4 on, rounding alone changes the third loss by 1e-3. With the
    usual eps of 1e-8 a weight whose gradient is rounding noise moves as far as any other, in a direction that is noise."""
    adam = torch.optim.Adam(model.parameters(), lr=1e-5, eps=1e-4)
    losses = []
    for _ in range(2):
        adam.step()
        adam.zero_grad()
        losses.append(backward(model, x)[1].item())
    return losses


def sgd_losses(model, x):
    """Three losses with steps proportional to the gradient, which unlike Adam's do not amplify rounding errors."""
    sgd = torch.optim.SGD(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(3):
        sgd.zero_grad()
        losses.append(backward(model, x)[1].item())
        sgd.step()
    return losses


def fresh(module):
    torch.manual_seed(0)
    model = module()
    state = {ours(k): v for k, v in model.state_dict().items() if "num_batches" not in k}
    for seed, name in enumerate(sorted(state)):
        state[name].copy_(formula(name, list(state[name].shape), seed))
    return model.double()


def case(spec, size, module):
    model = fresh(module)
    x = torch.tensor(wave(BATCH * 3 * size * size, 5).astype(np.float32).reshape(BATCH, size, size, 3)).permute(0, 3, 1, 2).double()
    model.eval()
    with torch.no_grad():
        evaluated = {k: summary(v) for k, v in model(x).items()}
    model.train()
    values, loss = backward(model, x)
    norms = {ours(k): p.grad.double().norm().item() for k, p in model.named_parameters()}
    buffers = {ours(k): v.double().norm().item() for k, v in model.named_buffers() if k.endswith(("mean", "var"))}
    chosen = sorted(norms)[:: max(1, len(norms) // 12)]
    watched = sorted(buffers)[:: max(1, len(buffers) // 4)]
    return {
        "spec": spec,
        "size": size,
        "eval": evaluated,
        "train_logits": values["logits"].detach().double().reshape(-1).tolist(),
        "losses": [loss.item()] + more_losses(model, x),
        "sgd_losses": sgd_losses(fresh(module).train(), x) if "decoder" in spec else [],
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
