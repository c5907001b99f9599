"""Many clients of `cargo xtask serve`, and a peer to compare it with.

    python tools/bench_serve.py load URL PREDICTIONS.jsonl [--clients 200] [--seconds 120]
    python tools/bench_serve.py peer MODEL.onnx [--port 8001]

`load` sends the images of a table that `cargo xtask predict --no-pictures` has written, over and over, from clients that
each wait for their answer, and compares every answer with the table. `peer` serves
MODEL.onnx (`cargo xtask export`) the way a user of FastAPI and ONNX Runtime would: Pillow decodes and resizes, one session
with all cores predicts one image at a time. Needs aiohttp, or fastapi, uvicorn, onnx, onnxruntime, NumPy and Pillow.
"""

import argparse
import asyncio
import hashlib
import io
import json
import random
import time


def load(args):
    import aiohttp

    with open(args.table) as lines:
        rows = [json.loads(line) for line in lines]
    images = [open(row["image"], "rb").read() for row in rows]
    seconds, wrong, failed = [], [], []

    async def client(session, number, until):
        draw = random.Random(number)
        while time.perf_counter() < until:
            at = draw.randrange(len(rows))
            start = time.perf_counter()
            async with session.post(args.url + "/predict", data=images[at]) as response:
                text = await response.text()
            seconds.append(time.perf_counter() - start)
            if response.status != 200:
                failed.append((response.status, text[:200]))
                continue
            answer = json.loads(text)["images"][0]
            if not same(answer, rows[at]):
                wrong.append((answer, rows[at]))

    async def clients():
        limit = aiohttp.TCPConnector(limit=args.clients)
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(connector=limit, timeout=timeout) as session:
            until = time.perf_counter() + args.seconds
            await asyncio.gather(*(client(session, i, until) for i in range(args.clients)))

    start = time.perf_counter()
    asyncio.run(clients())
    took = time.perf_counter() - start
    seconds.sort()
    p50, p99 = (1000 * seconds[int(q * (len(seconds) - 1))] for q in (0.5, 0.99))
    print(
        f"{len(seconds)} answers from {args.clients} clients in {took:.1f} s: {len(seconds) / took:.1f} a second; "
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {1000 * seconds[-1]:.0f} ms; {len(failed)} refused, {len(wrong)} wrong"
    )
    for case in failed[:3] + wrong[:3]:
        print("  ", case)
    raise SystemExit(bool(failed or wrong))


def same(answer, row):
    """To the bit for this program; of the peer, which resizes differently, only whether it is about the same image."""
    if "weights_sha256" in answer:
        return all(answer[key] == row[key] for key in row if key not in ("row", "image"))
    return answer["image_sha256"] == row["image_sha256"]


def peer(args):
    import fastapi
    import numpy as np
    import onnx
    import onnxruntime
    import uvicorn
    from PIL import Image
    from bench_predict import core

    part, value, size = core(args.model, 1)
    classes = next(json.loads(p.value) for p in onnx.load(args.model).metadata_props if p.key == "classes")
    session = onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
    scale = np.array([255], np.float32)
    app = fastapi.FastAPI()

    def answer(body):
        image = Image.open(io.BytesIO(body))
        image.draft("L", (2 * size[1], 2 * size[0]))
        grey = image.convert("L").resize((size[1], size[0]), Image.BILINEAR)
        batch = np.broadcast_to(np.asarray(grey, np.float32), (1, 3, *size))
        found = session.run(["probabilities"], {value: np.ascontiguousarray(batch), "full_scale": scale})[0][0]
        named = [{"class": c, "probability": float(p)} for c, p in zip(classes, found)]
        return {"images": [{"image_sha256": hashlib.sha256(body).hexdigest(), "probabilities": named}]}

    @app.post("/predict")
    async def predict(request: fastapi.Request):
        body = await request.body()
        return await fastapi.concurrency.run_in_threadpool(answer, body)

    uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="warning")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(required=True)
    loads = what.add_parser("load")
    loads.add_argument("url")
    loads.add_argument("table")
    loads.add_argument("--clients", type=int, default=200)
    loads.add_argument("--seconds", type=float, default=120)
    loads.set_defaults(run=load)
    peers = what.add_parser("peer")
    peers.add_argument("model")
    peers.add_argument("--port", type=int, default=8001)
    peers.set_defaults(run=peer)
    args = parser.parse_args()
    args.run(args)


main()
