"""TIFF, BMP and WebP files for the tests of the decoder, and Pillow's pixels of them: python3 make_formats.py (Pillow 13).

`formats.json` has the result of `ImageOps.exif_transpose` for each file that is read: rows, columns, values per pixel, bits
and the values. The other files are refused.
"""
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

here = Path(__file__).parent / "formats"
here.mkdir(exist_ok=True)
y, x = np.mgrid[0:13, 0:19]
grey = ((x * 11 + y * 17 + x * y) % 256).astype(np.uint8)
wide = ((x * 3001 + y * 517 + x * y) % 65536).astype(np.uint16)
rgb = np.dstack([grey, grey.T.reshape(13, 19), 255 - grey])
rgba = np.dstack([rgb, (x * 13 % 256).astype(np.uint8)])
bits = Image.fromarray(grey).convert("1", dither=Image.Dither.NONE)
indices = Image.fromarray((grey % 5).astype(np.uint8), "P")
indices.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 99, 199] + [7] * 753)
turned = Image.Exif()
turned[0x0112] = 6

files = {
    "grey.tif": (Image.fromarray(grey), {}),
    "grey16-lzw.tif": (Image.fromarray(wide), {"compression": "tiff_lzw"}),
    "grey16-deflate.tif": (Image.fromarray(wide), {"compression": "tiff_adobe_deflate"}),
    "grey16-big-endian.tif": (Image.fromarray(wide.astype(">u2")), {}),
    "rgb-lzw.tif": (Image.fromarray(rgb), {"compression": "tiff_lzw"}),
    "rgb-packbits.tif": (Image.fromarray(rgb), {"compression": "packbits"}),
    "rgb-deflate.tif": (Image.fromarray(rgb), {"compression": "tiff_deflate"}),
    "rgba.tif": (Image.fromarray(rgba), {}),
    "bits.tif": (bits, {}),
    "bits-packbits.tif": (bits, {"compression": "packbits"}),
    "bits-white-is-zero.tif": (bits, {"tiffinfo": {262: 0}}),
    "palette-lzw.tif": (indices, {"compression": "tiff_lzw"}),
    "turned.tif": (Image.fromarray(rgb), {"exif": turned, "compression": "tiff_lzw"}),
    "palette-turned.tif": (indices, {"exif": turned, "compression": "tiff_lzw"}),
    "grey.bmp": (Image.fromarray(grey), {}),
    "rgb.bmp": (Image.fromarray(rgb), {}),
    "rgba.bmp": (Image.fromarray(rgba), {}),
    "bits.bmp": (bits, {}),
    "palette.bmp": (indices, {}),
    "bits.png": (bits, {}),
    "rgb-lossless.webp": (Image.fromarray(rgb), {"lossless": True}),
    "rgba-lossless.webp": (Image.fromarray(rgba), {"lossless": True, "exact": True}),
    "rgb-lossy.webp": (Image.fromarray(rgb), {"quality": 80}),
    "turned.webp": (Image.fromarray(rgb), {"lossless": True, "exif": turned}),
}
expected = {}
for name, (image, how) in files.items():
    image.save(here / name, **how)
    shown = ImageOps.exif_transpose(Image.open(here / name))
    shown = shown.convert({"1": "L", "P": "RGB"}.get(shown.mode, shown.mode))
    values = np.asarray(shown)
    values = values.reshape(*values.shape[:2], -1)
    expected[name] = {
        "shape": values.shape,
        "bits": 16 if values.dtype.itemsize == 2 else 8,
        "values": values.reshape(-1).tolist(),
    }
(here / "formats.json").write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in expected.items()) + "\n}\n")

pages = [Image.fromarray(grey), Image.fromarray(255 - grey)]
pages[0].save(here / "refused-pages.tif", save_all=True, append_images=pages[1:])
Image.fromarray(rgb).save(here / "refused-jpeg.tif", compression="jpeg")
pages[0].convert("RGB").save(here / "refused-animation.webp", save_all=True, append_images=[pages[1].convert("RGB")])
