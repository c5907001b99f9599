"""What a Python user would run instead of this project, timed: the peers of `cargo xtask bench --peers PYTHON`.

    pip install torch timm segmentation-models-pytorch onnx onnxruntime openvino nncf
    python tools/bench_peers.py list
    python tools/bench_peers.py run --peer torch --precision f32 --task train --encoder efficientnet_b1 \
        --decoder unetpp --size 224 --batch 8 --threads 2 --repeats 5 --scratch /tmp

`list` prints a JSON object for each peer that is installed. `run` makes one measurement and prints it as one JSON
object; it is one process, so that its peak of memory is that measurement's. All peers compute the same network:
segmentation_models.pytorch's with a timm encoder and random weights, then the mean of the class map and a linear
layer, as the project's own. With `--onnx`, those that read ONNX compute a trained network instead, as
`cargo xtask export` writes it, on the images of a folder `--images`.

`run` also compares the answers of inference below f32 with those of the same library in f32 (`accuracy`), on images
that int8 was not calibrated on. With random weights the figures show that a peer computes the right network, not what
its precision costs: that takes a trained network and its images.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
import sysconfig
import time
from pathlib import Path

import peer_models as models

TRAINS = ["infer", "train"]
# name, precision, tasks, devices, modules that it needs beside torch and segmentation_models_pytorch
PEERS = [
    ("torch", "f32", TRAINS, ["cpu", "cuda"], []),
    ("torch", "tf32", TRAINS, ["cuda"], []),
    ("torch", "bf16", TRAINS, ["cpu", "cuda"], []),
    ("torch.compile", "f32", TRAINS, ["cpu"], []),
    ("torch.compile", "tf32", TRAINS, ["cuda"], []),
    ("torch.compile", "bf16", TRAINS, ["cpu", "cuda"], []),
    ("torch.compile+graphs", "tf32", TRAINS, ["cuda"], []),
    ("torch.compile+graphs", "bf16", TRAINS, ["cuda"], []),
    ("onnxruntime", "f32", ["infer"], ["cpu"], ["onnx", "onnxruntime"]),
    ("onnxruntime", "int8", ["infer"], ["cpu"], ["onnx", "onnxruntime"]),
    ("openvino", "f32", ["infer"], ["cpu"], ["onnx", "openvino"]),
    ("openvino", "bf16", ["infer"], ["cpu"], ["onnx", "openvino"]),
    ("openvino", "int8", ["infer"], ["cpu"], ["onnx", "openvino", "nncf"]),
]


def list_peers(args):
    for name, precision, tasks, devices, more in PEERS:
        if args.device not in devices:
            continue
        reason = left_out(name, args.device, more)
        if reason:
            print(f"{name} {precision}: left out, {reason}", file=sys.stderr)
            continue
        version = importlib.metadata.version(name.split(".")[0])
        if "nncf" in more:
            version += f", nncf {importlib.metadata.version('nncf')}"
        print(json.dumps({"peer": name, "precision": precision, "tasks": tasks, "version": version}))


def left_out(name, device, more):
    """Why a peer cannot be measured here; None if it can."""
    needed = ["torch", "timm", "segmentation_models_pytorch", *more]
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if device == "cuda":
        import torch

        return None if torch.cuda.is_available() else "PyTorch sees no GPU"
    if name == "torch.compile":
        # PyTorch compiles C++ for a CPU, with this compiler unless told otherwise.
        compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(compiler) is None:
            return f"there is no compiler {compiler}"
        if not Path(sysconfig.get_path("include"), "Python.h").exists():
            return "Python's header files are not installed"
    return None


def torch_peer(args):
    """A call of PyTorch, channels last: eager, compiled, or compiled with its launches recorded as CUDA graphs. bf16 is
    autocast's; f32 is exact, tf32 what a GPU's tensor cores make of it (PyTorch's own default in convolutions)."""
    import torch

    torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = args.precision != "f32"
    torch.backends.cuda.matmul.allow_tf32 = args.precision != "f32"
    torch.backends.cudnn.benchmark = args.device == "cuda"
    network = models.network(args).to(args.device, memory_format=torch.channels_last)
    network.train(args.task == "train")
    modes = {"torch": None, "torch.compile": "default", "torch.compile+graphs": "reduce-overhead"}
    mode = modes[args.peer]
    model = torch.compile(network, mode=mode) if mode else network
    autocast = lambda: torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")

    def prepare(images):
        images = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
        return images.pin_memory() if args.device == "cuda" else images

    @torch.inference_mode()
    def infer(images):
        with autocast():
            outputs = model(images.to(args.device, non_blocking=True))
        # Ours hands its results over too; to wait for them is part of the call.
        return [output.cpu() for output in outputs]

    def train(images):
        optimizer.zero_grad(set_to_none=True)
        with autocast():
            logits, _ = model(images.to(args.device, non_blocking=True))
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        if args.device == "cuda":
            torch.cuda.synchronize()

    def named(outputs):
        return {name: output.float().numpy() for name, output in zip(["logits", "map"], outputs)}

    if args.task == "infer":
        return prepare, infer, named
    labels = (torch.arange(args.batch) % 2).to(args.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=args.device == "cuda")
    return prepare, train, None


def onnxruntime_peer(args):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    file = args.model["int8" if args.precision == "int8" else "onnx"]
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    prepare = lambda images: models.feed(args.model, images)
    return prepare, lambda inputs: session.run(None, inputs), lambda outputs: dict(zip(names, outputs))


def openvino_peer(args):
    """A call of OpenVINO. What int8 leaves in floating point is computed in the precision that OpenVINO itself chooses."""
    import openvino

    core = openvino.Core()
    model = core.read_model(args.model["int8" if args.precision == "int8" else "onnx"])
    model.reshape(models.shapes(args.model, models.pictures(args, args.model, "timing")))
    hints = {"INFERENCE_NUM_THREADS": args.threads}
    if args.precision != "int8":
        hints["INFERENCE_PRECISION_HINT"] = args.precision
    compiled = core.compile_model(model, "CPU", hints)
    prepare = lambda images: models.feed(args.model, images)
    # A port can have names of OpenVINO's own beside that of the file.
    named = lambda outputs: {name: outputs[port] for port in compiled.outputs for name in port.names}
    return prepare, compiled, named


def peer(args):
    """Three functions: one that makes a call's argument from images, the call to time, and one that turns its result into
    arrays by name."""
    return {"onnxruntime": onnxruntime_peer, "openvino": openvino_peer}.get(args.peer, torch_peer)(args)


def of_torch(args):
    return args.peer.startswith("torch")


def load(args):
    """Imports what a peer's call will need, so that libraries do not count as the network's memory."""
    modules = ["torch", "segmentation_models_pytorch"] if of_torch(args) else [args.peer]
    for module in ["numpy", *modules]:
        importlib.import_module(module)


# Calls before the timed ones: the first one compiles, and PyTorch's second step is as slow as its first, while its
# allocator grows.
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
    # PyTorch's networks are not those of a file.
    args.model = {"full_scale": False, "channels": 3} if of_torch(args) else models.prepared(args)
    load(args)
    before = resident("VmRSS")
    prepare, call, named = peer(args)
    images = prepare(models.pictures(args, args.model, "timing"))
    for _ in range(WARM_UP):
        call(images)
    seconds = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        call(images)
        seconds.append(time.perf_counter() - start)
    peak = resident("VmHWM")
    memory = {"before": before, "peak": peak} if before and peak else None
    result = {"seconds": seconds, "memory": memory}
    for key in ["task", "precision", "size", "batch", "threads"]:
        result[key] = getattr(args, key)
    result["accuracy"] = accuracy(args, lambda images: named(call(prepare(images))))
    print(json.dumps(result))


def accuracy(args, infer):
    """How far the answers are from the library's in f32, once for all batches; None where there is nothing to compare."""
    if args.task != "infer" or args.precision == "f32" or (of_torch(args) and args.onnx):
        return None
    path = Path(args.scratch) / f"{models.stem(args)}-{args.peer}-{args.precision}-accuracy.json"
    if not path.exists():
        images = models.pictures(args, args.model, "comparison")
        own = models.answers(args, infer, images)
        same = "torch" if of_torch(args) else args.peer
        f32 = argparse.Namespace(**{**vars(args), "peer": same, "precision": "f32"})
        prepare, call, named = peer(f32)
        reference = models.answers(f32, lambda images: named(call(prepare(images))), images)
        result = json.dumps(models.compare(args, own, reference, len(images)))
        models.write(path, lambda partial: Path(partial).write_text(result))
    return json.loads(path.read_text())


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    listed = commands.add_parser("list", help="the peers that are installed")
    listed.set_defaults(command=list_peers)
    listed.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    for name, command, text in [("run", run, "one measurement"), ("prepare", models.prepare, "write a peer's model")]:
        sub = commands.add_parser(name, help=text)
        sub.set_defaults(command=command)
        sub.add_argument("--peer", choices=sorted({name for name, *_ in PEERS}), required=True)
        sub.add_argument("--precision", choices=["f32", "tf32", "bf16", "int8"], default="f32")
        sub.add_argument("--task", choices=TRAINS, default="infer")
        sub.add_argument("--encoder", default="efficientnet_b1", help="timm's name")
        sub.add_argument("--decoder", choices=["unet", "unetpp"], default="unetpp")
        sub.add_argument("--size", type=int, default=224)
        sub.add_argument("--batch", type=int, default=8)
        sub.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of torch")
        sub.add_argument("--threads", type=int, default=os.cpu_count())
        sub.add_argument("--repeats", type=int, default=5)
        sub.add_argument("--scratch", default=".", help="folder for the models")
        sub.add_argument("--onnx", help="a model that `cargo xtask export` wrote, instead of random weights; not of torch")
        sub.add_argument("--images", help="folder of PNG and JPEG images for --onnx: half of them to calibrate int8")
        sub.add_argument("--about", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if getattr(arguments, "images", None) and not arguments.onnx:
        parser.error("--images needs --onnx")
    return arguments


if __name__ == "__main__":
    arguments = parse()
    arguments.command(arguments)
