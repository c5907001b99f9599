"""Compares the crate `dicom` with pydicom on pydicom's own test files, and writes docs/dicom.md.

    python3 -m venv v && v/bin/pip install pydicom pydicom-data 'pylibjpeg[all]' numpy
    cargo build --release --workspace --examples
    v/bin/python tools/check_dicom.py [--values target/release/examples/values] [--time]

Each frame of each file: the values after `apply_modality_lut` and after `apply_voi_lut`, and the facts of the header.
Files without loss of information must be equal, lossy ones within 2 of 255. `--time` compares speed instead.
"""

import argparse
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
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
        if answer["error"] is None:
            shape = (answer["rows"], answer["columns"], answer["samples"])
            data = self.child.stdout.read(8 * int(np.prod(shape)))
            answer["values"] = np.frombuffer(data, "<f8").reshape(shape).squeeze(2) if shape[2] == 1 else np.frombuffer(data, "<f8").reshape(shape)
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


def allowed(ds, uid):
    """The greatest difference allowed, as a share of the range of the stored values."""
    return 2 / 255 if uid in LOSSY else 1e-9


def compare(ours, path, ds):
    """A verdict and whether it is good."""
    uid = ds.file_meta.get("TransferSyntaxUID", "")
    frames = [0]
    first = ours.ask(path, "modality", 1)
    if first["error"]:
        return first["error"], None
    frames = range(first["header"]["frames"])
    worst = 0.0
    for frame in [*frames][:: max(1, len(frames) // 8)]:
        expected = reference(path, ds, frame)
        for what, value in zip(("modality", "voi"), expected):
            answer = ours.ask(path, what, frame + 1)
            if answer["error"]:
                return answer["error"], None
            if answer["values"].shape != value.shape:
                return f"{what}: shape {answer['values'].shape} instead of {value.shape}", False
            scale = max(np.abs(value).max(), 2.0**ds.BitsStored - 1)
            if what == "modality" and uid in LOSSY:
                scale = max(value.max() - value.min(), 255) if ds.BitsStored > 8 else 255
            worst = max(worst, float(np.abs(answer["values"] - value).max() / scale))
    for name, value in facts(ds).items():
        if first["header"][name] != value:
            return f"{name} is {first['header'][name]!r} instead of {value!r}", False
    if worst <= 1e-9:
        return "equal", True
    if worst <= allowed(ds, uid):
        return f"within {255 * worst:.2f} of 255", True
    return f"off by {255 * worst:.3f} of 255", False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--values", default=ROOT / "target/release/examples/values")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    ours = Ours(arguments.values)
    rows, bad = [], 0
    for name, path, ds in test_files():
        if arguments.only and arguments.only not in str(name):
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
            verdict = f"pydicom refuses it ({type(error).__name__}: {str(error)[:60]}), we say {answer['error'] or 'pixels'}"
            good = None
        bad += good is False
        rows.append((name, UID(stated).name if stated else "not stated", ds.get("PhotometricInterpretation", ""), f"{ds.get('BitsStored', '')}", verdict))
        print(*rows[-1], sep=" | ", flush=True)
    print(len(rows), "files,", bad, "bad")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
