"""Writes reference.json: what Captum says of small networks with given weights, for tests/reference.rs.

Run: python crates/attribution/tests/reference.py (captum >= 0.9, torch). Seeded; double precision, so the file is the same
every time to the digits that are kept. Captum has no Grad-CAM++: its formula (Chattopadhyay et al., WACV 2018, equations 10
and 19, for exp(score)) is written here with torch's gradients.

`tests/reference.rs` builds the same networks: a stem with ReLU6, a depthwise convolution, squeeze-excite and a residual
(`mobile`), and an encoder with max-pooling, upsampling and concatenation (`unet`).
"""

import json
import pathlib

import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion
from torch import nn

SIZE = (16, 20)
STEPS = 50
WINDOW, STRIDE = (5, 6), (3, 4)
CLASS = 0


class Mobile(nn.Module):
    """Strided convolution, batch norm, ReLU6; depthwise convolution, batch norm, SiLU, squeeze-excite; residual; linear."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_bn = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6)
        self.dw, self.dw_bn = nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False), nn.BatchNorm2d(6)
        self.reduce, self.expand = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.project, self.project_bn = nn.Conv2d(6, 6, 1, bias=False), nn.BatchNorm2d(6)
        self.act, self.gate, self.relu = nn.SiLU(), nn.Sigmoid(), nn.ReLU()
        self.features, self.head = nn.Identity(), nn.Linear(6, 3)

    def forward(self, x):
        x = nn.functional.relu6(self.stem_bn(self.stem(x)))
        y = self.act(self.dw_bn(self.dw(x)))
        s = self.act(self.reduce(y.mean(dim=(2, 3), keepdim=True)))
        y = y * self.gate(self.expand(s))
        x = self.features(self.relu(x + self.project_bn(self.project(y))))
        return self.head(x.mean(dim=(2, 3)))


class Unet(nn.Module):
    """Two convolutions with ReLU, max-pooling between; the second's value, upsampled, joins the first's; class map, mean."""

    def __init__(self):
        super().__init__()
        self.first, self.first_bn = nn.Conv2d(3, 5, 3, 1, 1, bias=False), nn.BatchNorm2d(5)
        self.second, self.second_bn = nn.Conv2d(5, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.decoder, self.decoder_bn = nn.Conv2d(13, 6, 3, 1, 1, bias=False), nn.BatchNorm2d(6)
        self.features, self.map, self.head = nn.Identity(), nn.Conv2d(6, 2, 1), nn.Linear(2, 3)

    def forward(self, x):
        skip = torch.relu(self.first_bn(self.first(x)))
        deep = torch.relu(self.second_bn(self.second(nn.functional.max_pool2d(skip, 2))))
        x = torch.cat([nn.functional.interpolate(deep, scale_factor=2, mode="nearest"), skip], 1)
        x = self.features(torch.relu(self.decoder_bn(self.decoder(x))))
        return self.head(self.map(x).mean(dim=(2, 3)))


def prepared(network):
    """Weights of six digits, exact in the file; norms that are not those of a new network."""
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        drawn = torch.randn_like(value) * 0.4
        if name.endswith("running_var") or (name.endswith("bn.weight")):
            drawn = 0.5 + torch.rand_like(value)
        value.copy_(drawn.mul(1e6).round().div(1e6))
    return network.double().eval()


def plus_plus(network, x):
    """Grad-CAM++ on `features`, before ReLU and resizing."""
    kept = []
    handle = network.features.register_forward_hook(lambda _, __, output: kept.append(output))
    score = network(x)[0, CLASS]
    handle.remove()
    (g,) = torch.autograd.grad(score, kept)
    denominator = 2 * g**2 + kept[0].sum(dim=(2, 3), keepdim=True) * g**3
    alpha = g**2 / torch.where(denominator == 0, torch.ones_like(denominator), denominator)
    weights = (alpha * torch.relu(g)).sum(dim=(2, 3), keepdim=True)
    return (weights * kept[0]).sum(dim=1, keepdim=True).detach()


def resized(cam):
    return LayerAttribution.interpolate(cam, SIZE, "bilinear")


def digits(tensor):
    return [float(f"{v:.7g}") for v in tensor.flatten().tolist()]


def nhwc(tensor):
    return digits(tensor.permute(0, 2, 3, 1).contiguous())


def case(network):
    x = torch.randn(1, 3, *SIZE).mul(1e6).round().div(1e6).double()
    baseline = torch.tensor([0.25, 0.0, -0.5]).double().reshape(1, 3, 1, 1).expand(1, 3, *SIZE)
    integrated, delta = IntegratedGradients(network).attribute(
        x, baseline, target=CLASS, n_steps=STEPS, return_convergence_delta=True
    )
    occlusion = Occlusion(network).attribute(
        x, sliding_window_shapes=(3, *WINDOW), strides=(3, *STRIDE), baselines=baseline, target=CLASS
    )
    cam = LayerGradCam(network, network.features).attribute(x, target=CLASS)
    return {
        "weights": {k: digits(v) for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")},
        "image": nhwc(x),
        "logits": digits(network(x)),
        "integrated_gradients": nhwc(integrated),
        "completeness_error": delta.item(),
        "occlusion": digits(occlusion[:, 0]),
        "grad_cam": digits(resized(cam)),
        "grad_cam_relu": digits(resized(cam.relu())),
        "grad_cam_plus_plus": digits(resized(plus_plus(network, x))),
    }


if __name__ == "__main__":
    torch.manual_seed(20261129)
    fixture = {
        "size": SIZE,
        "steps": STEPS,
        "window": WINDOW,
        "stride": STRIDE,
        "class": CLASS,
        "baseline": [0.25, 0.0, -0.5],
        "mobile": case(prepared(Mobile())),
        "unet": case(prepared(Unet())),
    }
    path = pathlib.Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
