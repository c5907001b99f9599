"""Makes the small files that tests/torch_files.rs reads: python make.py FOLDER

Values are 0, 1, 2, … in each tensor (divided by its length for the network), so that the test can state what it expects
without Python. Needs PyTorch.
"""

import argparse
import collections
import os
import sys

import torch


def arange(*shape):
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def tensors():
    base = arange(2, 3)
    named = collections.OrderedDict(
        contiguous=base,
        transposed=base.t(),
        tail=base[1:],
        every_second=arange(8)[::2],
        scalar=torch.tensor(7.0),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(arange(3)),
    )
    for dtype in ("float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool"):
        named[dtype] = torch.tensor([0, 1, 2]).to(getattr(torch, dtype))
    return named


# The test's network: one parameter of each layout, in PyTorch's shapes.
NETWORK = {
    "encoder.stem.weight": (4, 3, 3, 3),
    "encoder.stem.bias": (4,),
    "encoder.dw.weight": (4, 1, 5, 5),
    "encoder.bn.weight": (4,),
    "encoder.bn.bias": (4,),
    "encoder.bn.running_mean": (4,),
    "encoder.bn.running_var": (4,),
    "decoder.up.weight": (4, 6, 2, 2),
    "decoder.up.bias": (6,),
    "head.weight": (2, 6),
    "head.bias": (2,),
}


def network(prefix=""):
    state = collections.OrderedDict()
    for name, shape in NETWORK.items():
        values = arange(*shape)
        state[prefix + name] = values / values.numel()
    state[prefix + "encoder.bn.num_batches_tracked"] = torch.tensor(5)
    return state


class Command:
    def __reduce__(self):
        return os.system, ("true",)


def main(folder):
    def save(name, what, **options):
        torch.save(what, os.path.join(folder, name), **options)

    save("zip.pth", tensors())
    save("legacy.pth", tensors(), _use_new_zipfile_serialization=False)
    save("network.pth", network())
    training = {"epoch": 3, "lr": 0.5, "best": None, "state_dict": network("module.model.")}
    save("nested.pth", {**training, "state_dict": {**training["state_dict"], "mean": arange(3)}})
    save("protocol4.pth", {"model": network()}, pickle_protocol=4)
    save("expanded.pth", {"a": arange(1).expand(1000)})
    save("command.pth", {"state_dict": network(), "extra": Command()})
    save("namespace.pth", {"args": argparse.Namespace(lr=0.1), "state_dict": network()})
    save("module.pth", torch.nn.Linear(2, 2))
    save("empty.pth", {"epoch": 3})


if __name__ == "__main__":
    main(sys.argv[1])
