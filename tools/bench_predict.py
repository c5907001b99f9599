"""The fastest thing that a user of OpenVINO would write to predict a folder: a peer of `cargo xtask predict`.

    python tools/bench_predict.py MODEL.onnx FOLDER OUT.csv

MODEL.onnx comes from `cargo xtask export`; its part behind the resizing is compiled for batches of eight with OpenVINO's
hint THROUGHPUT. Pillow decodes (JPEG at a reduced scale where that suffices) and resizes in two threads while the network
runs. Needs onnx, openvino, NumPy and Pillow. Prints the images per second without Python's start and imports.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

BATCH = 8


def core(path, batch):
    """The model from the resized image on, for batches of this size; the name and the size of that image."""
    model = onnx.load(path)
    size = next(json.loads(p.value) for p in model.metadata_props if p.key == "input_size")
    first = next(node for node in model.graph.node if node.op_type == "Div" and "full_scale" in node.input)
    value = first.input[0]
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    kept, open_values = set(), ["probabilities", "map"]
    while open_values:
        node = made_by.get(open_values.pop())
        if node is not None and node.name not in kept:
            kept.add(node.name)
            open_values += [name for name in node.input if name != value]
    nodes = [node for node in graph.node if node.name in kept]
    used = {name for node in nodes for name in node.input}
    images = onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, [batch, 3, *size])
    scale = next(i for i in graph.input if i.name == "full_scale")
    outputs = [o for o in graph.output if o.name in ("probabilities", "map")]
    weights = [w for w in graph.initializer if w.name in used]
    part = onnx.helper.make_graph(nodes, "core", [images, scale], outputs, weights)
    part = onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    return part, value, size


def read(path, size):
    image = Image.open(path)
    image.draft("L", (2 * size[1], 2 * size[0]))
    grey = image.convert("L").resize((size[1], size[0]), Image.BILINEAR)
    return np.asarray(grey, dtype=np.float32)


def main():
    import openvino

    path, folder, out = sys.argv[1:]
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".jpeg", ".jpg", ".png"))
    start = time.perf_counter()
    part, value, size = core(path, BATCH)
    model = openvino.Core().read_model(part.SerializeToString())
    compiled = openvino.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"})
    queue = openvino.AsyncInferQueue(compiled)
    answers = {}
    queue.set_callback(lambda request, first: answers.__setitem__(first, np.array(request.get_output_tensor(0).data)))
    scale = np.array([255], np.float32)
    with ThreadPoolExecutor(2) as pool:
        images = pool.map(lambda file: read(file, size), files)
        batch = np.zeros((BATCH, 3, *size), np.float32)
        filled = 0
        for i, image in enumerate(images):
            batch[filled] = image
            filled += 1
            if filled == BATCH or i == len(files) - 1:
                queue.start_async({value: batch.copy(), "full_scale": scale}, i - filled + 1)
                filled = 0
        queue.wait_all()
    with open(out, "w") as file:
        for first in sorted(answers):
            for k, row in enumerate(answers[first][: len(files) - first]):
                file.write(f"{files[first + k]},{','.join(f'{p:.6f}' for p in row)}\n")
    seconds = time.perf_counter() - start
    print(f"{len(files)} images in {seconds:.1f} s: {len(files) / seconds:.1f} a second")


if __name__ == "__main__":
    main()
