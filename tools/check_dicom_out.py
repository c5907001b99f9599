"""Checks the DICOM files that `cargo xtask predict --dicom-out` writes with readers that are not ours.

    python3 -m venv v && v/bin/pip install pydicom pydicom-data highdicom numpy pillow
    apt-get install dicom3tools                        # dciodvfy; left out where it is not installed
    cargo build --release --workspace
    v/bin/python tools/check_dicom_out.py RUN… [--xtask target/release/eff-unet]

Predicts grey images among pydicom's own test files with each network (a run's folder or a checkpoint, trained on masks),
binary and fractional, and checks: highdicom's segments are the PNG mask, or the probabilities whose largest is the mask;
pydicom's pixels of the secondary capture are the PNG overlay; highdicom's measurement groups of the structured report are
class, probabilities and areas of the JSON, and dcmtk's dsrdump accepts it; patient and study are the source's, byte by byte; the
references lead to the source; the same prediction gives the same bytes; dciodvfy finds no error; neither the JSON nor the
messages contain a name, an identifier or a date of the patient.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from PIL import Image
from pydicom.data import get_testdata_file

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    "CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm",
    "RG1_UNCR.dcm", "RG3_UNCR.dcm", "693_UNCR.dcm", "JPEG2000.dcm", "image_dfl.dcm",
    "dicomdirtests/77654033/CR1/6154", "dicomdirtests/98892003/MR2/4950", "examples_overlay.dcm", "mlut_18.dcm",
]
COPIED = [
    "SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID",
]
SECRET = ["PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "ReferringPhysicianName"]


class Wrong(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Wrong(message)


def predict(xtask, run, image, out, kind):
    command = [xtask, "predict", "--allow-phantom-model", f"--dicom-out={kind}", "--out", out, run, image]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    check(done.returncode == 0, done.stderr.strip())
    return done.stdout, done.stderr


def check_common(source, result):
    for name in COPIED:
        own, theirs = source.get(name), result.get(name)
        if name == "SpecificCharacterSet" and own is None:
            check(theirs in (None, "ISO_IR 192"), f"character set {theirs}")
        else:
            check((own or "") == (theirs or ""), f"{name}: {theirs!r} instead of {own!r}")
    series = result.ReferencedSeriesSequence[0]
    instance = series.ReferencedInstanceSequence[0]
    check(series.SeriesInstanceUID == source.SeriesInstanceUID, "referenced series")
    check(instance.ReferencedSOPInstanceUID == source.SOPInstanceUID, "referenced instance")
    check(instance.ReferencedSOPClassUID == source.SOPClassUID, "referenced class")
    check(result.SeriesInstanceUID != source.SeriesInstanceUID, "series of its own")
    check("not for diagnosis" in result.SeriesDescription and "not for diagnosis" in result.DerivationDescription, "notice")
    for uid in (result.SOPInstanceUID, result.SeriesInstanceUID):
        check(uid.is_valid, f"{uid} is not valid")


def check_segmentation(path, source, mask, shares, kind):
    seg = highdicom.seg.segread(path)
    check_common(source, seg)
    numbers = list(seg.segment_numbers)
    classes = [share["class"] for share in shares]
    check([seg.get_segment_description(n).segment_label for n in numbers] == classes[1:], "segment labels")
    check(list(numbers) == list(range(1, len(classes))), "segment numbers")
    found = seg.get_pixels_by_source_instance([source.SOPInstanceUID], segment_numbers=numbers)[0]
    expected = np.stack([mask == share["value"] for share in shares[1:]], axis=-1)
    if kind == "binary":
        check(np.array_equal(found.astype(bool), expected) and found.max(initial=0) <= 1, "highdicom's pixels")
        combined = seg.get_pixels_by_source_instance([source.SOPInstanceUID], combine_segments=True)[0]
        values = np.array([share["value"] for share in shares])
        check(np.array_equal(values[combined], mask), "highdicom's combined pixels")
    else:
        # The background's probability is the rest. The rounding to 255ths can change a class only where two are close.
        all_classes = np.concatenate([1 - found.sum(-1, keepdims=True), found], axis=-1)
        ordered = np.sort(all_classes, axis=-1)
        clear = ordered[..., -1] - ordered[..., -2] > len(classes) / 255
        values = np.array([share["value"] for share in shares])
        check(np.array_equal(values[all_classes.argmax(-1)][clear], mask[clear]), "highdicom's probabilities")
        check(clear.mean() > 0.5, "hardly any pixel is clear")
    return int(expected.sum())


def check_capture(path, source, overlay):
    capture = pydicom.dcmread(path)
    check_common(source, capture)
    check(np.array_equal(capture.pixel_array, overlay), "the pixels of the capture")
    check(capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID, "source image")


def check_report(path, source, trace, segmentation):
    """The measurement groups of a structured report, as highdicom reads them by their templates."""
    report = highdicom.sr.srread(path)
    for name in (n for n in COPIED if n not in ("SpecificCharacterSet", "FrameOfReferenceUID")):
        check((source.get(name) or "") == (report.get(name) or ""), f"report: {name}")
    content = report.content
    values = lambda group: {str(m.name.meaning): float(m.value) for m in group.get_measurements()}
    whole = content.get_image_measurement_groups()
    check(len(whole) == (1 if trace["class"] else 0), f"{len(whole)} groups of the whole image")
    for group in whole:
        found = values(group)
        for p in trace["probabilities"]:
            own = found[f"Probability of {p['class']}"]
            check(abs(own - p["probability"]) < 1e-12, f"probability of {p['class']}: {own}")
        if trace["threshold"] is not None:
            check(abs(found[f"Threshold for {trace['positive']}"] - trace["threshold"]) < 1e-12, "threshold")
        check(group.finding_type.meaning == trace["class"], f"finding {group.finding_type.meaning}")
    regions = content.get_planar_roi_measurement_groups()
    shares = trace["segmentation"]["shares"][1:]
    check(len(regions) == len(shares), f"{len(regions)} regions")
    for number, (group, share) in enumerate(zip(regions, shares), 1):
        found = values(group)
        check(abs(found["Share of the image"] - 100 * share["share"]) < 1e-9, "share")
        check(("Area" in found) == (share["area_mm2"] is not None), "area")
        if "Area" in found:
            check(abs(found["Area"] - share["area_mm2"]) < 1e-9 * max(1, share["area_mm2"]), "area")
        check(group.finding_type.meaning == share["class"], "finding of a region")
        segment = group.referenced_segmentation_frame[0].ReferencedSOPSequence[0]
        check(segment.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID, "referenced segmentation")
        frame = segmentation.PerFrameFunctionalGroupsSequence[segment.ReferencedFrameNumber - 1]
        own = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        check(own == number, f"the frame is of segment {own}, not {number}")
    evidence = {i.ReferencedSOPInstanceUID for study in report.CurrentRequestedProcedureEvidenceSequence
                for series in study.ReferencedSeriesSequence for i in series.ReferencedSOPSequence}
    check(evidence == {source.SOPInstanceUID, segmentation.SOPInstanceUID}, "evidence")
    if shutil.which("dsrdump"):
        done = subprocess.run(["dsrdump", path], capture_output=True, text=True)
        check(done.returncode == 0 and "Probability" in done.stdout or not trace["class"], f"dsrdump: {done.stderr}")
        check(not [l for l in done.stderr.splitlines() if l.startswith(("E:", "F:"))], f"dsrdump: {done.stderr}")
    return len(whole) + len(regions)


def verified(path):
    """What dciodvfy calls an error, but for those about elements that the source has and that are copied as they are."""
    done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    return [line for line in lines if line.startswith("Error")], sum(line.startswith("Warning") for line in lines)


def inherited(errors, source_path):
    known = set(verified(source_path)[0])
    values = {line.split(" - ", 1)[-1] for line in known}
    return [e for e in errors if e not in known and e.split(" - ", 1)[-1] not in values]


def check_one(arguments, run, name, path, kind, work):
    source = pydicom.dcmread(path, force=True)
    image = work / "source.dcm"
    shutil.copyfile(path, image)
    outs = [work / part for part in ("one", "two")]
    texts = [predict(arguments.xtask, run, image, out, kind) for out in outs]
    trace = json.loads(texts[0][0])
    secrets = [str(source.get(key) or "").strip() for key in SECRET]
    for secret in (s for s in secrets if len(s) > 3):
        check(secret not in texts[0][0] + texts[0][1], "the JSON or a message contains something of the patient")
    mask = np.asarray(Image.open(outs[0] / trace["segmentation"]["mask"]))
    written = {key: outs[0] / value for key, value in trace["dicom"].items() if value}
    for file in written.values():
        check(file.read_bytes() == (outs[1] / file.relative_to(outs[0])).read_bytes(), f"{file.name} is not deterministic")
    pixels = check_segmentation(written["segmentation"], source, mask, trace["segmentation"]["shares"], kind)
    check(("overlay" in written) == bool(trace["overlay"]), "an overlay is missing")
    if "overlay" in written:
        check_capture(written["overlay"], source, np.asarray(Image.open(outs[0] / trace["overlay"]).convert("RGB")))
    groups = check_report(written["report"], source, trace, pydicom.dcmread(written["segmentation"]))
    row = [name, kind, f"{mask.shape[1]}x{mask.shape[0]}", f"{len(trace['segmentation']['shares']) - 1} segments, {pixels} pixels"]
    row += ["with a capture" if "overlay" in written else "without a capture", f"{groups} measurement groups"]
    if shutil.which("dciodvfy"):
        found = [verified(file) for file in written.values()]
        own = [e for errors, _ in found for e in inherited(errors, image)]
        check(not own, f"dciodvfy: {own}")
        row.append(f"dciodvfy: {sum(len(errors) for errors, _ in found)} errors, all of them the source's own; {sum(w for _, w in found)} warnings")
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--xtask", default=ROOT / "target/release/eff-unet")
    arguments = parser.parse_args()
    bad = count = 0
    for run in arguments.runs:
        for name in SOURCES:
            path = get_testdata_file(name)
            if path is None:
                print(name, "is not there", sep=" | ")
                continue
            for kind in ("binary", "fractional"):
                count += 1
                with tempfile.TemporaryDirectory() as work:
                    try:
                        row = check_one(arguments, run, name, path, kind, Path(work))
                    except Wrong as error:
                        row, bad = [name, kind, f"WRONG: {error}"], bad + 1
                print(*row, sep=" | ", flush=True)
    versions = f"pydicom {pydicom.__version__}, highdicom {highdicom.__version__}"
    print(f"{count} predictions with {versions}, {bad} wrong")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
