#!/usr/bin/env python3
"""Whether attributions of a network with pretrained weights are those of Captum.

    python tools/check_attribution.py /path/to/tf_efficientnet_lite0.in1k.safetensors

The encoder has timm's weights from the file, decoder and head are random. `crates/attribution/examples/attributions.rs`
computes the maps and writes them with all weights; the same network is then built with timm, or with
segmentation_models.pytorch where it has a decoder, loaded strictly from these weights, and explained by Captum. Captum has
no Grad-CAM++: its formula is that of `crates/attribution/tests/reference.py`.

Both are compared in f32, and both with PyTorch in double precision, to tell rounding from a fault: a network with ReLU or
ReLU6 has kinks, where rounding decides on which side an activation falls, and a single one on the other side changes a
gradient by 1e-3. How much rounding may change each map is therefore measured: PyTorch computes it four more times, with
noise of 1e-6 of its RMS added to every convolution's output, the size of the rounding error of Winograd's convolution.
Exits with 1 if a map differs from PyTorch's in double precision by more than the tolerance, relative to the largest
value, and by more than twice the largest change by noise. Needs cargo, torch, timm, segmentation_models_pytorch,
safetensors and captum.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import safetensors.torch
import torch
from captum.attr import IntegratedGradients, LayerAttribution, LayerGradCam, Occlusion
from check_weights import Features, Network

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Decoder, head, side of the image: in double precision PyTorch takes minutes for larger ones.
NETWORKS = [("none", "bottleneck", 128), ("unet", "cam", 96), ("unet", "region", 96)]
ENCODER = "tf_efficientnet_lite0"
CLASS = 1
WINDOW, STRIDE, STEPS = 32, 16, 50
NOISE, DRAWS, FACTOR = 1e-6, 4, 2


class Plain(torch.nn.Module):
    """timm's encoder, the mean of its deepest features, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.encoder, self.head = Features(ENCODER), torch.nn.Linear(320, 2)

    def forward(self, x):
        return {"logits": self.head(self.encoder(x)["features.5"].mean(dim=(2, 3)))}

    def load(self, tensors):
        self.load_state_dict({k.replace("encoder.", "encoder.body.", 1): v for k, v in tensors.items()}, strict=True)


class Scores(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)["logits"]


def network(decoder, head, weights):
    module = Plain() if decoder == "none" else Network(ENCODER, decoder, head, 2, 2, 3)
    module.load(safetensors.torch.load_file(weights))
    return Scores(module).eval()


def layers(scores, decoder):
    """The modules whose outputs are the features."""
    body = scores.network.encoder.body if decoder == "none" else scores.network.body.encoder.model
    found = {"features.4": body.blocks[4], "features.5": body.blocks[6]}
    return found if decoder == "none" else {**found, "decoder": scores.network.body.decoder}


def plus_plus(scores, layer, x):
    kept = []
    handle = layer.register_forward_hook(lambda _, __, output: kept.append(output))
    score = scores(x)[0, CLASS]
    handle.remove()
    (g,) = torch.autograd.grad(score, kept)
    denominator = 2 * g**2 + kept[0].sum(dim=(2, 3), keepdim=True) * g**3
    alpha = g**2 / torch.where(denominator == 0, torch.ones_like(denominator), denominator)
    weights = (alpha * torch.relu(g)).sum(dim=(2, 3), keepdim=True)
    return (weights * kept[0]).sum(dim=1, keepdim=True).detach()


def captum(scores, decoder, x):
    size = x.shape[2:]
    resized = lambda cam: LayerAttribution.interpolate(cam, tuple(size), "bilinear")  # noqa: E731
    found = {"logits": scores(x).detach()}
    found["integrated_gradients"] = IntegratedGradients(scores).attribute(
        x, target=CLASS, n_steps=STEPS, internal_batch_size=10
    )
    with torch.no_grad():
        occluded = Occlusion(scores).attribute(
            x, (3, WINDOW, WINDOW), (3, STRIDE, STRIDE), target=CLASS, perturbations_per_eval=16
        )
    found["occlusion"] = occluded[:, :1]
    for name, layer in layers(scores, decoder).items():
        found[f"grad_cam@{name}"] = resized(LayerGradCam(scores, layer).attribute(x, target=CLASS))
        found[f"grad_cam_plus_plus@{name}"] = resized(plus_plus(scores, layer, x))
    return {name: value.detach().double() for name, value in found.items()}


def with_noise(scores, decoder, x, seed):
    """The maps where every convolution has a rounding error."""
    generator = torch.Generator().manual_seed(seed)

    def add(_, __, output):
        noise = torch.randn(output.shape, generator=generator, dtype=output.dtype)
        return output + NOISE * output.detach().square().mean().sqrt() * noise

    convolutions = [m for m in scores.modules() if isinstance(m, torch.nn.Conv2d)]
    handles = [m.register_forward_hook(add) for m in convolutions]
    found = captum(scores, decoder, x)
    for handle in handles:
        handle.remove()
    return found


def relative(a, b):
    return ((a.double() - b).abs().max() / b.abs().max()).item()


def check(arguments, decoder, head, size, folder):
    command = ["cargo", "run", "--release", "--quiet", "--offline", "-p", "attribution", "--example", "attributions", "--"]
    command += [ENCODER, arguments.weights, decoder, head, str(size), folder]
    print(f"\n{ENCODER}, {decoder}, {head}, {size}x{size}", flush=True)
    subprocess.run(command, cwd=ROOT, check=True)
    folder = pathlib.Path(folder)
    ours = safetensors.torch.load_file(folder / "maps.safetensors")
    scores = network(decoder, head, folder / "weights.safetensors")
    single = captum(scores, decoder, ours["input"])
    noisy = [with_noise(scores, decoder, ours["input"], seed) for seed in range(DRAWS)]
    exact = captum(scores.double(), decoder, ours["input"].double())
    print(f"\n{'':<32}{'from PyTorch f32':>18}{'from f64':>12}{'PyTorch f32 from f64':>24}{'by noise':>12}")
    good = single.keys() == ours.keys() - {"input"}
    for name, value in exact.items():
        off, theirs = relative(ours[name], value), relative(single[name], value)
        rounding = max(relative(draw[name], value) for draw in noisy)
        fine = off <= max(arguments.tolerance, FACTOR * rounding)
        good &= fine
        note = "" if fine else "  too far"
        print(f"{name:<32}{relative(ours[name], single[name]):>18.1e}{off:>12.1e}{theirs:>24.1e}{rounding:>12.1e}{note}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="timm's tf_efficientnet_lite0 as safetensors")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()
    arguments.weights = str(pathlib.Path(arguments.weights).resolve())
    good = True
    for decoder, head, size in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            good &= check(arguments, decoder, head, size, folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
