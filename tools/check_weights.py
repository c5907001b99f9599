#!/usr/bin/env python3
"""Whether weights mean the same here and in PyTorch, in both directions.

Ours to PyTorch: what `cargo xtask weights check MODEL --write-sample SAMPLE` computed, computed again by
segmentation_models.pytorch (and timm inside it) from the same file, loaded with strict=True:

    cargo xtask weights convert runs/pneumonia/latest/model.safetensors --to smp.safetensors --as smp
    cargo xtask weights check runs/pneumonia/latest/model.safetensors --write-sample sample.safetensors
    python tools/check_weights.py check smp.safetensors sample.safetensors

smp's file cannot hold the class-activation (cam) head or the region head; model.safetensors itself in place of
smp.safetensors compares the class scores too.

PyTorch to ours: random weights of another program, saved by it, with what it computes from them:

    python tools/check_weights.py make smp weights.pth sample.safetensors --encoder efficientnet_b1 --decoder unet
    cargo xtask weights check weights.pth --encoder efficientnet_b1 --sample sample.safetensors

Families: smp (tu- encoder), smp-own, timm, torchvision, lukemelas; what lukemelas' package makes here pads by the image,
which its names do not say: `weights convert --trained-in tensorflow` says it. Needs torch, timm, segmentation_models_pytorch and
safetensors; for two of the families torchvision and efficientnet_pytorch.
"""

import argparse
import sys

import safetensors
import safetensors.torch
import torch

DECODERS = {"unet": "Unet", "unetpp": "UnetPlusPlus"}
REGION_HEAD, OTHER_HEADS = "region_head.", "head."
TIMM = "conv_stem.weight"
OURS, THEIRS = "encoder.", "encoder.model."
SEED = 0


class Network(torch.nn.Module):
    """smp's network; with the cam head, class scores are a linear map of the class map's mean, with the region head of the
    decoder's output averaged over the pixels with the map's probability of all classes but the first."""

    def __init__(self, encoder, decoder, head, classes, map_classes, in_channels):
        super().__init__()
        import segmentation_models_pytorch as smp

        aux = {"classes": classes, "pooling": "avg"} if head == "bottleneck" else None
        self.body = getattr(smp, DECODERS[decoder])(
            f"tu-{encoder}", encoder_weights=None, in_channels=in_channels, classes=map_classes, aux_params=aux
        )
        self.prefix = REGION_HEAD if head == "region" else OTHER_HEADS
        inputs = {"cam": map_classes, "region": self.body.segmentation_head[0].in_channels}.get(head)
        self.head = torch.nn.Linear(inputs, classes) if inputs else None
        self.region = head == "region"

    def forward(self, x):
        if self.region:
            return self.region_scores(self.body.decoder(self.body.encoder(x)))
        outputs = self.body(x)
        if isinstance(outputs, tuple):
            return dict(zip(("map", "logits"), outputs))
        if self.head is None:
            return {"map": outputs}
        return {"map": outputs, "logits": self.head(outputs.mean(dim=(2, 3)))}

    def region_scores(self, decoded):
        scores = self.body.segmentation_head(decoded)
        weights = 1 - torch.softmax(scores, dim=1)[:, :1]
        mean = (weights * decoded).sum(dim=(2, 3)) / (weights.sum(dim=(2, 3)) + 1e-6)
        return {"map": scores, "logits": self.head(mean)}

    def load(self, tensors):
        """Strictly: every name and shape must agree. A file converted --as smp goes into smp's network as it is; one in
        our own names has its encoder's and head's prefixes changed. True if class scores can be computed."""
        if any(k.startswith(THEIRS) for k in tensors) and not any(k.startswith(self.prefix) for k in tensors):
            self.body.load_state_dict(tensors, strict=True)
            return self.head is None
        tensors = {k: v for k, v in tensors.items() if not k.startswith("training/")}
        head = {k[len(self.prefix) :]: tensors.pop(k) for k in list(tensors) if k.startswith(self.prefix)}
        if self.head is None:
            tensors.update({f"classification_head.3.{k}": v for k, v in head.items()})
        else:
            self.head.load_state_dict(head, strict=True)
        if not any(k.startswith(THEIRS) for k in tensors):
            tensors = {THEIRS + k[len(OURS) :] if k.startswith(OURS) else k: v for k, v in tensors.items()}
        self.body.load_state_dict(tensors, strict=True)
        return True

    def state(self):
        head = {} if self.head is None else {self.prefix + k: v for k, v in self.head.state_dict().items()}
        return {**self.body.state_dict(), **head}


def check(arguments):
    sample = safetensors.torch.load_file(arguments.sample)
    with safetensors.safe_open(arguments.sample, "pt") as file:
        about = file.metadata() or {}
    if "encoder" not in about:
        print("this sample is of a whole network, which no other program has", file=sys.stderr)
        return 1
    tensors = safetensors.torch.load_file(arguments.weights)
    network, names = timm_loaded(about, tensors) if TIMM in tensors else smp_loaded(about, tensors)
    with torch.no_grad():
        found = network.eval()(sample["input"])
        exact = network.double()(sample["input"].double())
    names = sorted(names & found.keys() & sample.keys())
    good = bool(names)
    for name in names:
        ours, theirs = relative(sample[name], found[name]), relative(found[name], exact[name])
        print(
            f"{name}: largest difference {ours:.1e} of the largest magnitude; from f64, ours "
            f"{relative(sample[name], exact[name]):.1e}, PyTorch's f32 {theirs:.1e}"
        )
        good &= ours <= arguments.tolerance
    return 0 if good else 1


def smp_loaded(about, tensors):
    numbers = (int(about[key]) for key in ("classes", "map_classes", "in_channels"))
    network = Network(about["encoder"], about["decoder"], about["head"], *numbers)
    scores = network.load(tensors)
    return network, {"map", "logits"} if scores else {"map"}


class Features(torch.nn.Module):
    """timm's encoder; its outputs at reductions 2 to 32."""

    def __init__(self, encoder, in_channels=3):
        super().__init__()
        import timm

        self.body = timm.create_model(encoder, pretrained=False, features_only=True, in_chans=in_channels)

    def forward(self, x):
        return features(self.body(x))


def timm_loaded(about, tensors):
    network = Features(about["encoder"], int(about["in_channels"]))
    network.body.load_state_dict(tensors, strict=True)
    return network, {f"features.{i}" for i in range(1, 6)}


def relative(a, b):
    """Rounding grows with the network: the distance between f32 and f64 shows how much difference rounding alone explains."""
    return ((a - b).abs().max() / b.abs().max()).item()


def features(outputs):
    return {f"features.{i}": y for i, y in enumerate(outputs, 1)}


def smp_network(a):
    network = Network(a.encoder, a.decoder, "cam", 2, 2, 3)
    return network, network, network.state


def smp_own(a):
    from segmentation_models_pytorch.encoders import get_encoder
    from segmentation_models_pytorch.encoders._efficientnet import round_repeats

    encoder = get_encoder(a.encoder.replace("tf_", "").replace("_", "-"), weights=None)
    repeats = [round_repeats(b.num_repeat, encoder._global_params) for b in encoder._blocks_args]
    ends = [sum(repeats[: i + 1]) - 1 for i in (0, 1, 2, 4, 6)]

    # Its own features are the stem, and for B0 a block in the middle of a stage: the ends of stages are ours.
    def run(x):
        x, outputs = encoder._swish(encoder._bn0(encoder._conv_stem(x))), []
        for block in encoder._blocks:
            x = block(x)
            outputs.append(x)
        return features([outputs[i] for i in ends])

    return encoder, run, lambda: prefixed(encoder, "encoder.")


def timm_encoder(a):
    model = Features(a.encoder)
    return model, model, model.body.state_dict


def torchvision_network(a):
    import torchvision

    model = getattr(torchvision.models, a.encoder)(weights=None)

    def run(x):
        outputs = []
        for layer in model.features[:8]:
            x = layer(x)
            outputs.append(x)
        return features([outputs[i] for i in (1, 2, 3, 5, 7)])

    return model, run, model.state_dict


def lukemelas(a):
    from efficientnet_pytorch import EfficientNet

    # Without a size, padding follows the image, as TensorFlow's does.
    model = EfficientNet.from_name(a.encoder.replace("tf_", "").replace("_", "-"), image_size=None)
    run = lambda x: features(list(model.extract_endpoints(x).values())[:5])  # noqa: E731
    return model, run, model.state_dict


FAMILIES = {
    "smp": smp_network,
    "smp-own": smp_own,
    "timm": timm_encoder,
    "torchvision": torchvision_network,
    "lukemelas": lukemelas,
}


def prefixed(module, prefix):
    return {prefix + k: v for k, v in module.state_dict().items()}


def make(arguments):
    torch.manual_seed(SEED)
    module, run, state = FAMILIES[arguments.family](arguments)
    settle(module, run, arguments.size)
    x = torch.randn(2, 3, arguments.size, arguments.size)
    with torch.no_grad():
        outputs = run(x)
    tensors = {"input": x, **{k: v.contiguous() for k, v in outputs.items()}}
    safetensors.torch.save_file(tensors, arguments.sample)
    if arguments.weights.endswith(".safetensors"):
        safetensors.torch.save_file({k: v.contiguous() for k, v in state().items()}, arguments.weights)
    else:
        torch.save(state(), arguments.weights, _use_new_zipfile_serialization=not arguments.legacy)
    return 0


def settle(module, run, size):
    """Norms of a network that has seen images: otherwise 50 layers of random weights give nothing but zeros."""
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.5
        torch.nn.init.uniform_(norm.weight, 0.8, 1.2)
        torch.nn.init.uniform_(norm.bias, -0.2, 0.2)
    module.train()
    with torch.no_grad():
        for _ in range(4):
            run(torch.randn(4, 3, size, size))
    module.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    check_ = commands.add_parser("check", help="compute a sample of ours again")
    check_.add_argument("weights", help="safetensors: a checkpoint of ours, or converted --as smp or timm")
    check_.add_argument("sample")
    check_.add_argument("--tolerance", type=float, default=1e-3)
    check_.set_defaults(run=check)
    make_ = commands.add_parser("make", help="make weights and a sample")
    make_.add_argument("family", choices=FAMILIES)
    make_.add_argument("weights", help="a .safetensors, or a .pth by torch.save")
    make_.add_argument("sample")
    make_.add_argument("--encoder", default="efficientnet_b0")
    make_.add_argument("--decoder", choices=DECODERS, default="unet")
    make_.add_argument("--size", type=int, default=96)
    make_.add_argument("--legacy", action="store_true", help="torch.save's form before PyTorch 1.6")
    make_.set_defaults(run=make)
    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
