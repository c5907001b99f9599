"""Makes fixtures.json: one tiny case per operation, computed by PyTorch (NCHW, f32). Run: python make_fixtures.py"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)
CASES = []


def same(x, k, s):
    """TensorFlow's SAME padding: (left, right, top, bottom)."""
    pads = []
    for n in (x.shape[3], x.shape[2]):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def case(name, kind, inputs, f, extra=(), **attributes):
    # Inputs of two decimals keep the file small.
    inputs = {k: v.mul(100).round().div(100).requires_grad_() for k, v in inputs.items()}
    y = f(**inputs)
    dy = torch.randn_like(y).mul(10).round().div(10)
    grads = torch.autograd.grad(y, list(inputs.values()), dy)
    tensors = {**inputs, "y": y, "dy": dy, **{f"d{k}": g for k, g in zip(inputs, grads)}, **dict(extra)}
    flat = {k: {"shape": list(v.shape), "data": [float(f"{x:.7g}") for x in v.detach().flatten().tolist()]} for k, v in tensors.items()}
    CASES.append({"name": name, "kind": kind, **attributes, "tensors": flat})


def conv(name, kind, c, k, s, pad, shape, groups=1):
    x, w = torch.randn(2, c[0], *shape), torch.randn(c[1], c[0] // groups, k, k) / k
    f = lambda x, w_: F.conv2d(same(x, k, s), w_, stride=s, groups=groups) if pad == "same" else F.conv2d(x, w_, stride=s, padding=pad, groups=groups)
    case(name, kind, {"x": x, "w_": w}, f, stride=s, pad=pad)


conv("conv2d_1x1", "conv2d", (5, 3), 1, 1, 0, (3, 4))
conv("conv2d_3x3", "conv2d", (3, 4), 3, 1, 1, (4, 5))
conv("conv2d_3x3_stride2_same", "conv2d", (2, 3), 3, 2, "same", (6, 5))
conv("depthwise_3x3", "depthwise", (5, 5), 3, 1, 1, (4, 4), groups=5)
conv("depthwise_5x5_stride2_same", "depthwise", (3, 3), 5, 2, "same", (6, 5), groups=3)
case("conv_transpose", "conv_transpose2d", {"x": torch.randn(1, 3, 2, 3), "w_": torch.randn(3, 2, 2, 2), "b": torch.randn(2)},
     lambda x, w_, b: F.conv_transpose2d(x, w_, b, stride=2))
bn = {"x": torch.randn(2, 3, 3, 2) * 2 + 1, "w_": torch.randn(3), "b": torch.randn(3)}
before = {"running_mean_before": torch.randn(3), "running_var_before": torch.rand(3) + 0.5}
mean, var = (v.clone() for v in before.values())
bn = {k: v.mul(100).round().div(100) for k, v in bn.items()}
F.batch_norm(bn["x"], mean, var, bn["w_"], bn["b"], True, 0.1, 1e-3)
case("batch_norm_train", "batch_norm_train", bn, lambda x, w_, b: F.batch_norm(x, None, None, w_, b, True, 0.1, 1e-3),
     {**before, "running_mean_after": mean, "running_var_after": var}.items(), eps=1e-3, momentum=0.1)
case("batch_norm_eval", "batch_norm_eval", bn, lambda x, w_, b: F.batch_norm(x, mean, var, w_, b, False, 0.1, 1e-3),
     {"running_mean": mean, "running_var": var}.items(), eps=1e-3)
for op, f in {"silu": F.silu, "relu": F.relu, "relu6": F.relu6, "sigmoid": torch.sigmoid}.items():
    case(f"act_{op}", "activation", {"x": torch.randn(1, 3, 3, 3) * 4}, lambda x: f(x), op=op)
small = torch.randn(2, 3, 4, 2)
case("max_pool", "max_pool2d", {"x": small}, lambda x: F.max_pool2d(x, 2), k=2)
case("nearest", "upsample_nearest", {"x": small}, lambda x: F.interpolate(x, scale_factor=2))
case("bilinear", "upsample_bilinear", {"x": small}, lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
case("global_avg", "global_avg_pool", {"x": small}, lambda x: x.mean((2, 3)))
case("linear", "linear", {"x": torch.randn(2, 5), "w_": torch.randn(3, 5), "b": torch.randn(3)}, lambda x, w_, b: F.linear(x, w_, b))
se = {"x": small, "w1": torch.randn(2, 3, 1, 1), "b1": torch.randn(2), "w2": torch.randn(3, 2, 1, 1), "b2": torch.randn(3)}
case("squeeze_excite", "squeeze_excite", se,
     lambda x, w1, b1, w2, b2: x * torch.sigmoid(F.conv2d(F.silu(F.conv2d(x.mean((2, 3), keepdim=True), w1, b1)), w2, b2)))


def region_pool(x, map_):
    w = F.avg_pool2d(1 - torch.softmax(map_, 1)[:, :1], 2)
    return (w * x).sum((2, 3)) / (w.sum((2, 3)) + 1e-6)


case("region_pool", "region_pool", {"x": torch.randn(2, 4, 2, 3), "map_": torch.randn(2, 3, 4, 6) * 3}, region_pool)

path = pathlib.Path(__file__).with_name("fixtures.json")
path.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in CASES) + "\n]\n")
print(f"{len(CASES)} cases, {path.stat().st_size} bytes")
