"""Prints how far PyTorch's losses deviate from the three losses of the model fixtures when only rounding differs.

    python crates/train/tests/fixtures_models/spread.py ../shared/fixtures

Each line is one run: precision, threads, memory format, or the image multiplied by 1 + 1e-7 of noise.
"""
import sys

import segmentation_models_pytorch as smp
import torch
from safetensors.torch import load_file

FIXTURES = [("unet_tf_efficientnet_lite0", smp.Unet, "tf_efficientnet_lite0"), ("unetpp_efficientnet_b1", smp.UnetPlusPlus, "efficientnet_b1")]
RUNS = [("single", {}), ("single, one thread", {"threads": 1}), ("single, channels last", {"format": torch.channels_last}), ("double", {"dtype": torch.float64})]
RUNS += [(f"single, noise {seed}", {"noise": seed}) for seed in (1, 2, 3)]


class EffUNet(torch.nn.Module):
    def __init__(self, arch, encoder):
        super().__init__()
        self.net = arch("tu-" + encoder, encoder_weights=None, classes=2)
        self.head = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.net(x).mean((2, 3)))


def losses(arch, encoder, weights, io, dtype=torch.float32, threads=2, format=torch.contiguous_format, noise=None):
    torch.set_num_threads(threads)
    model = EffUNet(arch, encoder)
    for name, value in model.state_dict().items():
        if "num_batches" not in name:
            value.copy_(weights[name.removeprefix("net.").replace("encoder.model.", "encoder.")])
    model = model.to(dtype).to(memory_format=format).train()
    x = io["x"].to(dtype)
    if noise is not None:
        torch.manual_seed(noise)
        x = x * (1 + 1e-7 * torch.randn_like(x))
    x = x.to(memory_format=format)
    adam = torch.optim.Adam(model.parameters(), lr=1e-4)
    for _ in range(3):
        adam.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), io["target"])
        loss.backward()
        adam.step()
        yield loss.item()


for name, arch, encoder in FIXTURES:
    weights = load_file(f"{sys.argv[1]}/{name}.weights.safetensors")
    io = load_file(f"{sys.argv[1]}/{name}.io.safetensors")
    print(name, "fixture", io["train/losses"].tolist())
    for label, run in RUNS:
        off = [loss - expected for loss, expected in zip(losses(arch, encoder, weights, io, **run), io["train/losses"].tolist())]
        print(f"  {label:24}", *(f"{d:+.1e}" for d in off))
