"""Compares the crate `dicom` with pydicom on pydicom's own test files, and writes docs/dicom.md.

    python3 -m venv v && v/bin/pip install pydicom pydicom-data 'pylibjpeg[all]' numpy pillow
    cargo build --release --workspace --examples
    v/bin/python tools/check_dicom.py [--values target/release/examples/values] [--write] [--time]

Of each file, up to nine frames: the values after `apply_modality_lut` and after `apply_voi_lut`, and the facts of the
header. Files without loss of information must be equal, lossy ones within 2 of 255, or no farther from pylibjpeg than
Pillow's libjpeg-turbo is. `--write` replaces the table of docs/dicom.md; `--time` compares the speed instead.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ImplicitVRLittleEndian

ROOT = Path(__file__).resolve().parent.parent
LOSSY = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91"}
NOT_DICOM = {".py", ".pyc", ".json", ".txt", ".icc", ".dump", ".gz"}


def test_files():
    """Files of pydicom and pydicom-data that pydicom reads as data sets, with what it reads."""
    import data_store

    folders = [Path(pydicom.__file__).parent / "data", Path(data_store.__file__).parent]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_dir() or path.suffix in NOT_DICOM or "palettes" in path.parts:
                continue
            try:
                ds = pydicom.dcmread(path, force=True)
            except Exception:
                continue
            if any(name in ds for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                yield path.relative_to(folder), path, ds


class Ours:
    """The example `values` as a child process."""

    def __init__(self, program):
        self.child = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, path, what, frame=None, window="auto"):
        question = {"path": str(path), "frame": frame, "what": what, "window": window}
        self.child.stdin.write(json.dumps(question).encode() + b"\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit(f"{path}: the program ended")
        answer = json.loads(line)
        if answer["error"] is None and what != "time":
            shape = (answer["rows"], answer["columns"], answer["samples"])
            data = self.child.stdout.read(8 * int(np.prod(shape)))
            values = np.frombuffer(data, "<f8").reshape(shape)
            answer["values"] = values.squeeze(2) if shape[2] == 1 else values
        return answer


def lifted(ds, frame):
    """The functional groups of a frame as attributes of the file itself, where pydicom's functions look for them."""
    ds = pydicom.Dataset({tag: ds[tag] for tag in ds.keys() if tag.group != 0x7FE0})
    groups = [ds.get("SharedFunctionalGroupsSequence", [None])[0]]
    per_frame = ds.get("PerFrameFunctionalGroupsSequence", [])
    groups += [per_frame[frame]] if frame < len(per_frame) else []
    for group in groups:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in (group or {}).get(name, [])[:1]:
                for element in item:
                    ds[element.tag] = element
    return ds


def reference(path, ds, frame):
    """pydicom's modality and VOI values of a frame."""
    plugin = "pylibjpeg" if ds.file_meta.TransferSyntaxUID.is_compressed else ""
    array = pixel_array(ds, index=frame, decoding_plugin=plugin)
    meta, ds = ds.file_meta, lifted(ds, frame)
    ds.file_meta = meta
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(array, ds)
        # pydicom reads the tables in the machine's order.
        big = meta.TransferSyntaxUID == ExplicitVRBigEndian and "RedPaletteColorLookupTableData" in ds
        return ((colours.byteswap() if big else colours).astype(float),) * 2
    if ds.SamplesPerPixel == 3:
        return (array.astype(float),) * 2
    modality = apply_modality_lut(array, ds)
    return modality.astype(float), np.asarray(apply_voi_lut(modality, ds)).astype(float)


def facts(ds):
    text = lambda name: str(ds.get(name) or "").strip() or None
    return {
        "study_uid": text("StudyInstanceUID"),
        "series_uid": text("SeriesInstanceUID"),
        "sop_instance_uid": text("SOPInstanceUID"),
        "sop_class_uid": text("SOPClassUID"),
        "modality": text("Modality"),
        "manufacturer": text("Manufacturer"),
        "view_position": text("ViewPosition"),
        "laterality": text("ImageLaterality") or text("Laterality"),
        "body_part": text("BodyPartExamined"),
        "sex": text("PatientSex"),
        "patient_id_length": len(text("PatientID") or "") or None,
        "rows": ds.Rows,
        "columns": ds.Columns,
        "frames": int(ds.get("NumberOfFrames") or 1),
        "bits_stored": ds.BitsStored,
    }


def by_pillow(ds, frame):
    """The colours of a JPEG by libjpeg-turbo."""
    stream = get_frame(ds.PixelData, frame, number_of_frames=int(ds.get("NumberOfFrames") or 1))
    return np.asarray(Image.open(io.BytesIO(stream)).convert("RGB")).astype(float)


def compare(ours, path, ds):
    """A verdict and whether it is good."""
    uid = ds.file_meta.get("TransferSyntaxUID", "")
    first = ours.ask(path, "modality", 1)
    if first["error"]:
        return "refused: " + first["error"], None
    frames = range(first["header"]["frames"])
    worst = 0.0
    for frame in frames[:: max(1, len(frames) // 8)]:
        for what, value in zip(("modality", "voi"), reference(path, ds, frame)):
            answer = ours.ask(path, what, frame + 1)
            if answer["error"]:
                return answer["error"], False
            if answer["values"].shape != value.shape:
                return f"{what}: shape {answer['values'].shape} instead of {value.shape}", False
            scale = max(np.abs(value).max(), 1) if uid not in LOSSY else max(value.max() - value.min(), 255)
            worst = max(worst, float(np.abs(answer["values"] - value).max() / scale))
    for name, value in facts(ds).items():
        if first["header"][name] != value:
            return f"{name} is {first['header'][name]!r} instead of {value!r}", False
    if worst <= 1e-9:
        return "equal", True
    if uid in LOSSY and worst <= 2 / 255:
        return f"within {255 * worst:.2f} of 255", True
    verdict = f"off by {255 * worst:.2f} of 255"
    if ds.SamplesPerPixel == 3 and uid == "1.2.840.10008.1.2.4.50":
        pillow = max(np.abs(by_pillow(ds, frame) - reference(path, ds, frame)[0]).max() for frame in frames[::8])
        return f"{verdict}; Pillow is off by {pillow:.2f}", 255 * worst <= pillow
    return verdict, False


def check(ours, only):
    """Rows of the table, and how many are bad."""
    rows, bad = [], 0
    for name, path, ds in test_files():
        if only and only not in str(name):
            continue
        if not hasattr(ds, "file_meta"):
            ds.file_meta = pydicom.dataset.FileMetaDataset()
        stated = ds.file_meta.get("TransferSyntaxUID")
        if not stated:
            ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        try:
            verdict, good = compare(ours, path, ds)
        except Exception as error:
            answer = ours.ask(path, "voi", 1)
            verdict = answer["error"] and "refused: " + answer["error"] or "pixels; pydicom: " + str(error).split("\n")[-1].strip()
            good = None
        bad += good is False
        syntax = UID(stated).name if stated else "not stated"
        rows.append((name, syntax, ds.get("PhotometricInterpretation", ""), ds.get("BitsStored", ""), verdict))
        print(*rows[-1], sep=" | ", flush=True)
    return rows, bad


BEGIN, END = "<!-- files -->\n", "<!-- end of files -->\n"


def write(rows):
    path = ROOT / "docs/dicom.md"
    text = path.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    cells = ["| file | transfer syntax | photometric interpretation | bits | verdict |", "| --- | --- | --- | --- | --- |"]
    cells += ["| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |" for row in rows]
    count = lambda start: sum(str(row[-1]).startswith(start) for row in rows)
    kinds = f"{len(rows)} files: {count('equal')} equal, {count('within')} within 2 of 255, {count('off')} as far off as Pillow, "
    kinds += f"{count('refused')} refused, {count('pixels')} read that pydicom refuses.\n\n"
    path.write_text(head + BEGIN + kinds + "\n".join(cells) + "\n" + END + tail)


TIMED = [
    "RG1_UNCR.dcm", "RG3_UNCR.dcm", "MR2_UNCR.dcm", "693_UNCR.dcm", "mlut_18.dcm", "examples_rgb_color.dcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm", "bad_sequence.dcm", "JPGExtended.dcm", "SC_rgb_jpeg.dcm", "examples_ybr_color.dcm",
    "color3d_jpeg_baseline.dcm", "RG1_J2KR.dcm", "US1_J2KI.dcm", "emri_small_jpeg_ls_lossless.dcm",
]


def by_pydicom(data):
    """From the bytes of a file to the pixels of its first frame, as the crate's `read`."""
    ds = pydicom.dcmread(io.BytesIO(data))
    plugin = "pylibjpeg" if ds.file_meta.TransferSyntaxUID.is_compressed else ""
    array = pixel_array(ds, index=0, decoding_plugin=plugin)
    if ds.SamplesPerPixel == 3:
        return array
    modality = apply_modality_lut(array, ds)
    values = apply_voi_lut(modality, ds).astype(np.float64)
    low, high = values.min(), values.max()
    grey = (values - low) / max(high - low, 1)
    grey = 1 - grey if ds.PhotometricInterpretation == "MONOCHROME1" else grey
    top = 65535 if ds.BitsStored > 8 else 255
    return np.rint(grey * top).astype(np.uint16 if top > 255 else np.uint8)


def compare_speed(ours, rounds=9):
    print("| file | ours, ms | pydicom, ms | times as fast | in the worst round |\n| --- | --- | --- | --- | --- |")
    for name, path, _ in test_files():
        if path.name not in TIMED:
            continue
        data, pairs = path.read_bytes(), []
        for _ in range(rounds + 1):
            own = ours.ask(path, "time", 1)["milliseconds"]
            start = time.perf_counter()
            by_pydicom(data)
            pairs.append((own, 1e3 * (time.perf_counter() - start)))
        ratios = [theirs / own for own, theirs in pairs[1:]]
        own, theirs = (statistics.median(column) for column in zip(*pairs[1:]))
        print(f"| {name.name} | {own:.2f} | {theirs:.2f} | {statistics.median(ratios):.2f} | {min(ratios):.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--values", default=ROOT / "target/release/examples/values")
    parser.add_argument("--only")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--time", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.time:
        # One core for both, which the child inherits.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return compare_speed(Ours(arguments.values))
    rows, bad = check(Ours(arguments.values), arguments.only)
    if arguments.write:
        write(rows)
    print(len(rows), "files,", bad, "bad")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
