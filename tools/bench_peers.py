"""What a Python user would run instead of this project, timed: the peers of `cargo xtask bench --peers PYTHON`.

    pip install torch timm segmentation-models-pytorch onnx onnxruntime openvino
    python tools/bench_peers.py list
    python tools/bench_peers.py run --peer torch --precision f32 --task train --encoder efficientnet_b1 \
        --decoder unetpp --size 224 --batch 8 --threads 2 --repeats 5 --scratch /tmp

`list` prints a JSON object for each peer that is installed. `run` makes one measurement and prints it as one JSON
object; it is one process, so that its peak of memory is that measurement's. All peers compute the same network:
segmentation_models.pytorch's with a timm encoder and random weights, then the mean of the class map and a linear
layer, as the project's own.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

TRAINS = ["infer", "train"]
# name, precision, tasks, devices, modules that it needs beside torch and segmentation_models_pytorch
PEERS = [
    ("torch", "f32", TRAINS, ["cpu", "cuda"], []),
    ("torch", "tf32", TRAINS, ["cuda"], []),
    ("torch", "bf16", TRAINS, ["cpu", "cuda"], []),
    ("torch.compile", "tf32", TRAINS, ["cuda"], []),
    ("torch.compile", "bf16", TRAINS, ["cuda"], []),
    ("torch.compile+graphs", "tf32", TRAINS, ["cuda"], []),
    ("torch.compile+graphs", "bf16", TRAINS, ["cuda"], []),
    ("onnxruntime", "f32", ["infer"], ["cpu"], ["onnx", "onnxruntime"]),
    ("openvino", "f32", ["infer"], ["cpu"], ["onnx", "openvino"]),
    ("openvino", "bf16", ["infer"], ["cpu"], ["onnx", "openvino"]),
]


def list_peers(args):
    for name, precision, tasks, devices, more in PEERS:
        if args.device not in devices:
            continue
        needed = ["torch", "timm", "segmentation_models_pytorch", *more]
        missing = [module for module in needed if importlib.util.find_spec(module) is None]
        if missing:
            print(f"{name} {precision}: left out, not installed: {', '.join(missing)}", file=sys.stderr)
            continue
        if args.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                print(f"{name} {precision}: left out, PyTorch sees no GPU", file=sys.stderr)
                continue
        version = importlib.metadata.version(name.split(".")[0])
        print(json.dumps({"peer": name, "precision": precision, "tasks": tasks, "version": version}))


def network(args):
    import segmentation_models_pytorch as smp
    import torch

    class Classifier(torch.nn.Module):
        """The class map of a segmentation network, its mean, and a linear layer on that."""

        def __init__(self):
            super().__init__()
            decoder = {"unet": smp.Unet, "unetpp": smp.UnetPlusPlus}[args.decoder]
            self.map = decoder(f"tu-{args.encoder}", encoder_weights=None, classes=2)
            self.head = torch.nn.Linear(2, 2)

        def forward(self, images):
            class_map = self.map(images)
            return self.head(class_map.mean((2, 3))), class_map

    torch.manual_seed(0)
    return Classifier()


def torch_call(args):
    """A call of PyTorch, channels last: eager, compiled, or compiled with its launches recorded as CUDA graphs. bf16 is
    autocast's; f32 is exact, tf32 what a GPU's tensor cores make of it (PyTorch's own default in convolutions)."""
    import torch

    torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = args.precision != "f32"
    torch.backends.cuda.matmul.allow_tf32 = args.precision != "f32"
    torch.backends.cudnn.benchmark = args.device == "cuda"
    layout = torch.channels_last
    network_ = network(args).to(args.device, memory_format=layout)
    modes = {"torch": None, "torch.compile": "default", "torch.compile+graphs": "reduce-overhead"}
    mode = modes[args.peer]
    model = torch.compile(network_, mode=mode) if mode else network_
    images = torch.randn(args.batch, 3, args.size, args.size).contiguous(memory_format=layout)
    if args.device == "cuda":
        images = images.pin_memory()
    autocast = lambda: torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")

    @torch.inference_mode()
    def infer():
        with autocast():
            outputs = model(images.to(args.device, non_blocking=True))
        # Ours hands its results over too; to wait for them is part of the call.
        return [output.cpu() for output in outputs]

    def train():
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            logits, _ = model(images.to(args.device, non_blocking=True))
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        if args.device == "cuda":
            torch.cuda.synchronize()

    if args.task == "infer":
        network_.eval()
        return infer
    network_.train()
    labels = (torch.arange(args.batch) % 2).to(args.device)
    optimizer = torch.optim.Adam(network_.parameters(), lr=1e-4, fused=args.device == "cuda")
    return train


def onnxruntime_call(args):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.onnx, options, providers=["CPUExecutionProvider"])
    images = random_images(args)
    return lambda: session.run(None, {"images": images})


def openvino_call(args):
    import openvino

    core = openvino.Core()
    model = core.read_model(args.onnx)
    model.reshape([args.batch, 3, args.size, args.size])
    hints = {"INFERENCE_NUM_THREADS": args.threads, "INFERENCE_PRECISION_HINT": args.precision}
    compiled = core.compile_model(model, "CPU", hints)
    images = random_images(args)
    return lambda: compiled({"images": images})


def random_images(args):
    import numpy

    shape = (args.batch, 3, args.size, args.size)
    return numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)


def load(peer):
    """Imports what a peer's call will need, so that libraries do not count as the network's memory."""
    torch = peer.startswith("torch")
    modules = ["torch", "segmentation_models_pytorch"] if torch else [peer, "numpy"]
    for module in modules:
        importlib.import_module(module)


def export(args):
    import torch

    partial = f"{args.onnx}.{os.getpid()}"
    torch.onnx.export(
        network(args).eval(),
        (torch.randn(1, 3, args.size, args.size),),
        partial,
        input_names=["images"],
        output_names=["logits", "map"],
        dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}, "map": {0: "n"}},
        dynamo=False,
    )
    os.replace(partial, args.onnx)


def exported(args):
    """The network as an ONNX file in the scratch folder, written once, in a process of its own: PyTorch and the
    exporter must not count as the memory of the peer that reads it."""
    path = Path(args.scratch) / f"{args.encoder}-{args.decoder}-{args.size}.onnx"
    if not path.exists():
        arguments = [sys.executable, __file__, "export", *sys.argv[2:], "--onnx", str(path)]
        if subprocess.run(arguments, stdout=sys.stderr).returncode != 0:
            sys.exit("the network cannot be exported")
    return str(path)


# Calls before the timed ones: PyTorch's second step is as slow as its first, while its allocator grows.
WARM_UP = 3


def resident(field):
    """Bytes of `VmRSS` or `VmHWM`; None where there is no such file."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def run(args):
    if not args.peer.startswith("torch"):
        args.onnx = exported(args)
    load(args.peer)
    before = resident("VmRSS")
    calls = {"onnxruntime": onnxruntime_call, "openvino": openvino_call}
    call = calls.get(args.peer, torch_call)(args)
    for _ in range(WARM_UP):
        call()
    seconds = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    peak = resident("VmHWM")
    memory = {"before": before, "peak": peak} if before and peak else None
    result = {"seconds": seconds, "memory": memory}
    for key in ["task", "precision", "size", "batch", "threads"]:
        result[key] = getattr(args, key)
    print(json.dumps(result))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    listed = commands.add_parser("list", help="the peers that are installed")
    listed.set_defaults(command=list_peers)
    listed.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    for name, command, text in [("run", run, "one measurement"), ("export", export, "write --onnx")]:
        sub = commands.add_parser(name, help=text)
        sub.set_defaults(command=command)
        sub.add_argument("--peer", choices=sorted({name for name, *_ in PEERS}), required=True)
        sub.add_argument("--precision", choices=["f32", "tf32", "bf16"], default="f32")
        sub.add_argument("--task", choices=TRAINS, default="infer")
        sub.add_argument("--encoder", default="efficientnet_b1", help="timm's name")
        sub.add_argument("--decoder", choices=["unet", "unetpp"], default="unetpp")
        sub.add_argument("--size", type=int, default=224)
        sub.add_argument("--batch", type=int, default=8)
        sub.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of torch")
        sub.add_argument("--threads", type=int, default=os.cpu_count())
        sub.add_argument("--repeats", type=int, default=5)
        sub.add_argument("--scratch", default=".", help="folder for the exported network")
        sub.add_argument("--onnx", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    arguments.command(arguments)
