"""Compressed streams for the tests of the codecs, by CharLS, OpenJPEG and libjpeg: python3 make.py

    python3 -m venv v && v/bin/pip install numpy pyjpegls imagecodecs

`streams.json` has what the header of a file would say, and the samples of lossy streams as these libraries decode them.
Lossless streams have the pattern, which the test computes, too.
"""
import json
from pathlib import Path

import imagecodecs
import jpeg_ls
import numpy as np

here = Path(__file__).parent


def pattern(rows, columns, samples, bits):
    """Noise, and areas of one value, which JPEG-LS codes as runs."""
    y, x, c = np.mgrid[0:rows, 0:columns, 0:samples]
    noise = (x * 7 + y * 13 + x * y * 3 + c * 50) * 37 % 2**bits
    return np.where((x // 6 + y // 4) % 2 == 0, 2**bits // 3, noise).astype(np.uint8 if bits <= 8 else np.uint16)


streams = {}


def add(name, data, expected, bits, signed=False, lossy=False):
    data = bytes(data)
    (here / name).write_bytes(data)
    expected = np.asarray(expected)
    streams[name] = {
        "rows": expected.shape[0],
        "columns": expected.shape[1],
        "samples": 1 if expected.ndim == 2 else expected.shape[2],
        "bits": bits,
        "signed": signed,
        "values": expected.reshape(-1).astype(int).tolist() if lossy else None,
    }


for bits, near, samples, mode in [
    (8, 0, 1, 0), (12, 0, 1, 0), (16, 0, 1, 0), (2, 0, 1, 0), (8, 3, 1, 0), (12, 7, 1, 0), (16, 100, 1, 0),
    (8, 0, 3, 0), (8, 0, 3, 1), (8, 0, 3, 2), (8, 2, 3, 1), (8, 2, 3, 2), (16, 0, 3, 1), (12, 5, 3, 2),
]:
    array = pattern(21, 34, samples, bits)
    planes = array.squeeze()
    if samples == 3 and mode == 0:
        source = np.ascontiguousarray(planes.transpose(2, 0, 1))
    else:
        source = planes
    data = jpeg_ls.encode_array(source, lossy_error=near, interleave_mode=mode)
    if hasattr(jpeg_ls, "encode_pixel_data") and bits not in (8, 16):
        kwargs = dict(rows=21, columns=34, samples_per_pixel=samples, bits_stored=bits)
        data = jpeg_ls.encode_pixel_data(source.tobytes(), lossy_error=near, interleave_mode=mode, **kwargs)
    decoded = imagecodecs.jpegls_decode(bytes(data)) if samples == 1 or mode else planes
    if near == 0:
        assert (decoded == planes).all(), (bits, near, samples, mode)
    add(f"ls-{bits}-near{near}-{samples}-ilv{mode}.jls", data, decoded, bits, lossy=near > 0)

grey8, grey12, grey16, rgb8 = (pattern(21, 34, n, b).squeeze() for n, b in [(1, 8), (1, 12), (1, 16), (3, 8)])
signed = (grey16.astype(int) - 32768).astype(np.int16)
add("grey8.j2k", imagecodecs.jpeg2k_encode(grey8, reversible=True, level=0, codecformat="j2k"), grey8, 8)
add("grey12.j2k", imagecodecs.jpeg2k_encode(grey12, reversible=True, level=0, bitspersample=12, codecformat="j2k"), grey12, 12)
add("signed16.j2k", imagecodecs.jpeg2k_encode(signed, reversible=True, level=0, codecformat="j2k"), signed, 16, True)
add("rgb8.jp2", imagecodecs.jpeg2k_encode(rgb8, reversible=True, level=0, codecformat="jp2", mct=True), rgb8, 8)
for bits, array in ((8, grey8), (12, grey12), (16, grey16)):
    add(f"lossless{bits}.jpg", imagecodecs.ljpeg_encode(array, bitspersample=bits), array, bits)
smooth = lambda bits: ((np.hypot(*np.mgrid[-10:11, -17:17]) * 150 + 400) * 2.0 ** (bits - 12)).astype(np.uint16)
for bits in (8, 12):
    array = smooth(bits).astype(np.uint8 if bits == 8 else np.uint16)
    data = imagecodecs.jpeg_encode(array, level=95, bitspersample=bits)
    add(f"dct{bits}.jpg", data, imagecodecs.jpeg_decode(data, bitspersample=bits), bits, lossy=True)
(here / "streams.json").write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in streams.items()) + "\n}\n")
