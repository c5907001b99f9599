"""The networks, model files and images of bench_peers.py, and how far a peer's answers are from those in f32.

Models are files in the scratch folder. Each is written once, by a process of its own: PyTorch, the exporter and the
quantizers must not count as the memory of the peer that reads it.

int8 is post-training quantization as the libraries' own documentation recommends it: of OpenVINO by NNCF with the preset
`performance`, or `mixed` (asymmetric activations) for networks with other activations than ReLU; of ONNX Runtime by
`quantize_static` (QDQ, weights by channel as S8, activations as U8). On x86 processors without VNNI, whose sums of
products saturate, both have weights of seven bits (`OverflowFix.ENABLE`, `reduce_range`). Both calibrate on the same
images.
"""

import json
import os
import platform
import subprocess
import sys
import zlib
from pathlib import Path

# NNCF takes 300 images unless told otherwise, and its documentation names that number.
CALIBRATION = 300
HELD_OUT = 32
SUFFIXES = {".png", ".jpg", ".jpeg"}
# Activations with negative values.
SIGNED = {"Sigmoid", "Swish", "HardSwish", "Elu", "Gelu", "LeakyRelu", "Mish", "Softplus", "Tanh"}


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


def prepared(args):
    """The files and inputs of a peer's model: `onnx`, `int8` (None for other precisions), `input` (the name of the
    images), `full_scale` (whether the model takes that too), `channels`."""
    path = Path(args.scratch) / f"{stem(args)}-{args.peer}-{args.precision}.json"
    if not path.exists():
        arguments = [sys.executable, sys.argv[0], "prepare", *sys.argv[2:], "--about", str(path)]
        if subprocess.run(arguments, stdout=sys.stderr).returncode != 0:
            sys.exit("the model cannot be prepared")
    return json.loads(path.read_text())


def stem(args):
    """Of the files' names in the scratch folder: it changes with the model and the images that were passed."""
    name = Path(args.onnx).stem if args.onnx else f"{args.encoder}-{args.decoder}-{args.size}"
    for path in [args.onnx, args.images]:
        if path:
            path = Path(path).resolve()
            name += f"-{zlib.crc32(f'{path} {path.stat().st_mtime_ns}'.encode()):08x}"
    return name


def prepare(args):
    """The command that writes what `prepared` reads."""
    if args.onnx:
        about = described(args)
    else:
        path = Path(args.scratch) / f"{stem(args)}.onnx"
        if not path.exists():
            write(path, lambda partial: export(args, partial))
        about = {"onnx": str(path), "input": "images", "full_scale": False, "channels": 3}
    about["int8"] = None
    if args.precision == "int8":
        suffix, quantize = {"openvino": ("xml", quantize_openvino), "onnxruntime": ("onnx", quantize_onnxruntime)}[args.peer]
        path = Path(args.scratch) / f"{stem(args)}-{args.peer}-int8.{suffix}"
        images = pictures(args, about, "calibration")
        write(path, lambda partial: quantize(about, images, partial))
        about["int8"] = str(path)
    write(Path(args.about), lambda partial: Path(partial).write_text(json.dumps(about)))


def write(path, make):
    """Has `make` write a file of another name, then renames it, so that no half-written file is ever read."""
    partial = path.with_name(f"{os.getpid()}-{path.name}")
    make(str(partial))
    if path.suffix == ".xml":
        os.replace(partial.with_suffix(".bin"), path.with_suffix(".bin"))
    os.replace(partial, path)


def export(args, path):
    import torch

    torch.onnx.export(
        network(args).eval(),
        (torch.randn(1, 3, args.size, args.size),),
        path,
        input_names=["images"],
        output_names=["logits", "map"],
        dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}, "map": {0: "n"}},
        dynamo=False,
    )


def described(args):
    """A model that this project exported: it takes pixels as stored, and normalizes them itself."""
    import onnx

    model = onnx.load(args.onnx)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props if entry.key in ("input_size", "window")}
    if {i.name for i in model.graph.input} != {"image", "full_scale"} or "input_size" not in metadata:
        sys.exit(f"{args.onnx}: not a model that `cargo xtask export` wrote")
    height, width = metadata.get("window") or metadata["input_size"]
    if (height, width) != (args.size, args.size):
        sys.exit(f"{args.onnx} takes images of {width}x{height} pixels, and --size is {args.size}")
    (mean,) = (tensor for tensor in model.graph.initializer if tensor.name == "mean")
    channels = onnx.numpy_helper.to_array(mean).size
    return {"onnx": os.path.abspath(args.onnx), "input": "image", "full_scale": True, "channels": channels}


def quantize_openvino(about, images, path):
    import nncf
    import onnx
    import openvino

    model = openvino.Core().read_model(about["onnx"])
    model.reshape(shapes(about, images[:1]))
    operators = {node.op_type for node in onnx.load(about["onnx"]).graph.node}
    preset = nncf.QuantizationPreset.MIXED if operators & SIGNED else nncf.QuantizationPreset.PERFORMANCE
    data = nncf.Dataset([feed(about, image[None]) for image in images])
    fix = nncf.OverflowFix.ENABLE if saturates() else nncf.OverflowFix.DISABLE
    more = nncf.AdvancedQuantizationParameters(overflow_fix=fix)
    quantized = nncf.quantize(model, data, preset=preset, subset_size=len(images), advanced_parameters=more)
    openvino.save_model(quantized, path)


def quantize_onnxruntime(about, images, path):
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(quantization.CalibrationDataReader):
        def __init__(self):
            self.feeds = (feed(about, image[None]) for image in images)

        def get_next(self):
            return next(self.feeds, None)

    # Folds normalizations into convolutions. The shapes of transformers would need symbolic inference.
    folded = f"{path}.folded.onnx"
    quant_pre_process(about["onnx"], folded, skip_symbolic_shape=True)
    quantization.quantize_static(
        folded,
        path,
        Images(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        reduce_range=saturates(),
        nodes_to_exclude=shape_arithmetic(onnx.load(folded).graph),
    )
    os.remove(folded)


def shape_arithmetic(graph):
    """Names of the nodes that compute with shapes: the paddings of networks from TensorFlow, which must not be rounded."""
    constants = {tensor.name for tensor in graph.initializer}
    names, results = [], set()
    for node in graph.node:
        inputs = {name for name in node.input if name} - constants
        if node.op_type == "Constant":
            constants.update(node.output)
        elif node.op_type == "Shape" or (inputs and inputs <= results):
            names.append(node.name)
            results.update(node.output)
    return names


def saturates():
    """Whether sums of two products of eight bits are kept in sixteen: on x86 processors without VNNI."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        return "_vnni" not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True


def pictures(args, about, purpose):
    """Images `[n, channels, rows, columns]` to time, to calibrate on or to compare answers on, no two of these the same:
    those of --images, read as the model wants them, or random ones."""
    import numpy

    count = {"timing": args.batch, "calibration": CALIBRATION, "comparison": HELD_OUT}[purpose]
    if args.images and purpose != "timing":
        return numpy.stack([picture(args, about, file) for file in files(args, purpose, count)])
    random = numpy.random.default_rng(["timing", "calibration", "comparison"].index(purpose))
    shape = (count, about["channels"], args.size, args.size)
    if about["full_scale"]:
        return random.integers(0, 256, shape).astype(numpy.float32)
    return random.standard_normal(shape, dtype=numpy.float32)


def files(args, purpose, count):
    """Every second image of the folder, and of these at most `count`, spread over all folders inside."""
    found = sorted(path for path in Path(args.images).rglob("*") if path.suffix.lower() in SUFFIXES)
    found = found[0 if purpose == "calibration" else 1 :: 2]
    if not found:
        sys.exit(f"{args.images}: fewer than two PNG or JPEG images")
    count = min(count, len(found))
    return [found[i * len(found) // count] for i in range(count)]


def picture(args, about, file):
    import numpy
    from PIL import Image

    image = Image.open(file).convert("L" if about["channels"] == 1 else "RGB")
    pixels = numpy.asarray(image.resize((args.size, args.size)), dtype=numpy.float32)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def feed(about, images):
    """A model's inputs by name."""
    import numpy

    inputs = {about["input"]: numpy.ascontiguousarray(images)}
    if about["full_scale"]:
        inputs["full_scale"] = numpy.array([255], numpy.float32)
    return inputs


def shapes(about, images):
    return {name: list(value.shape) for name, value in feed(about, images).items()}


def answers(args, infer, images):
    """Probabilities of the classes and classes of the map's pixels of all images, a batch at a time; the last batch is
    filled up with the first images, because models have a fixed batch."""
    import numpy

    probabilities, classes = [], []
    for start in range(0, len(images), args.batch):
        outputs = infer(images[numpy.arange(start, start + args.batch) % len(images)])
        kept = min(args.batch, len(images) - start)
        if "logits" in outputs:
            scores = numpy.exp(outputs["logits"] - outputs["logits"].max(1, keepdims=True))[:kept]
            probabilities.append(scores / scores.sum(1, keepdims=True))
        if "map" in outputs:
            pixels = outputs["map"][:kept]
            # With one channel, the probability of the finding.
            classes.append(pixels.argmax(1) if pixels.shape[1] > 1 else pixels[:, 0] >= 0.5)
    joined = lambda parts: numpy.concatenate(parts) if parts else None
    return joined(probabilities), joined(classes)


def compare(args, own, reference, count):
    """How far answers are from those in f32: the mean absolute difference of the probabilities, and the share of the
    map's pixels whose class is the same."""
    import numpy

    weights = "a trained network" if args.onnx else "random weights"
    images = "images" if args.images else "random images"
    result = {"of": f"{weights}, {count} {images}", "probabilities": None, "map": None}
    if own[0] is not None:
        result["probabilities"] = float(numpy.abs(own[0] - reference[0]).mean())
    if own[1] is not None:
        result["map"] = float((own[1] == reference[1]).mean())
    return result
