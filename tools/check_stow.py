#!/usr/bin/env python3
"""Checks `serve --archive`: images sent by dicomweb-client, results received by an archive that is not ours.

    pip install pydicom highdicom dicomweb-client
    python3 tools/check_stow.py RUN --program target/release/eff-unet

RUN is a network that was trained on masks. Sends two of pydicom's own images and a file that is none, and fails unless
the answer names each as it should; the archive has a segmentation, a report and, if the network has a class map, a
capture of each image, in its study, which pydicom and highdicom read; an archive that refuses is an image that is
refused, and the same image sent again gives the same objects.
"""

import argparse
import email
import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import highdicom
import pydicom
import requests
from dicomweb_client import DICOMwebClient
from pydicom.data import get_testdata_file

STORED = "00081199"
FAILED = "00081198"
faults = []


def check(right, words):
    if not right:
        faults.append(words)
        print(f"  WRONG: {words}")


class Archive(BaseHTTPRequestHandler):
    """Takes what is stored; refuses while `full`."""

    objects, full = [], False

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if Archive.full:
            self.send_response(507)
            self.end_headers()
            return
        check(self.path == "/dicom-web/studies", f"the archive is asked for {self.path}")
        check(self.headers["Authorization"] == "Bearer of-the-archive", "the archive is not given its token")
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        for part in email.message_from_bytes(head + body).get_payload():
            check(part.get_content_type() == "application/dicom", f"a part is {part.get_content_type()}")
            Archive.objects.append(part.get_payload(decode=True))
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def instances(answer, tag):
    return [item["00081155"]["Value"][0] for item in answer.get(tag, {}).get("Value", []) if "00081155" in item]


def read(objects):
    sets = [pydicom.dcmread(BytesIO(o)) for o in objects]
    for o, s in zip(objects, sets):
        if s.Modality == "SEG":
            highdicom.seg.segread(BytesIO(o))
        if s.Modality == "SR":
            highdicom.sr.srread(BytesIO(o))
    return sets


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--program", required=True)
    args = parser.parse_args()
    archive = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=archive.serve_forever, daemon=True).start()
    work = Path(tempfile.mkdtemp())
    (work / "authorization").write_text("Bearer of-the-archive\n")
    service = subprocess.Popen(
        [args.program, "serve", args.run, "--allow-phantom-model", "--bind", "127.0.0.1:0", "--audit", work / "audit.jsonl",
         "--archive", f"http://127.0.0.1:{archive.server_port}/dicom-web", "--archive-authorization", work / "authorization"],
        stderr=subprocess.PIPE, text=True)
    address = next(m.group() for line in service.stderr if (m := re.search(r"http://[0-9.]+:\d+", line)))
    client = DICOMwebClient(f"{address}/dicomweb")
    images = [pydicom.dcmread(get_testdata_file(name)) for name in ("CT_small.dcm", "MR_small.dcm")]
    names = [i.SOPInstanceUID for i in images]

    for image in images:
        answer = client.store_instances([image]).to_json_dict()
        check(instances(answer, STORED) == [image.SOPInstanceUID], f"stored: {answer}")
        check(image.StudyInstanceUID in answer["00081190"]["Value"][0], "the address of the study")
    sets = read(Archive.objects)
    kinds = sorted(s.Modality for s in sets)
    check(kinds.count("SEG") == 2 and kinds.count("SR") == 2, f"the archive has {kinds}")
    for image in images:
        own = [s for s in sets if s.StudyInstanceUID == image.StudyInstanceUID]
        check(len(own) == len(sets) // 2 and all(s.PatientID == image.PatientID for s in own), "results in another study")
    print(f"  stored: {kinds}")

    first = sorted(Archive.objects)
    Archive.objects = []
    client.store_instances(images)
    check(sorted(Archive.objects) == first, "images sent again have other results")

    # A body with an image, and a part that is none.
    def send(parts, path="studies"):
        boundary = "x-y-z"
        body = b"".join(b"--x-y-z\r\nContent-Type: application/dicom\r\n\r\n" + p + b"\r\n" for p in parts) + b"--x-y-z--\r\n"
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        return requests.post(f"{address}/dicomweb/{path}", body, headers={"Content-Type": kind})

    bytes_of = lambda i: Path(get_testdata_file(i)).read_bytes()
    mixed = send([bytes_of("CT_small.dcm"), b"no image"])
    check(mixed.status_code == 202 and instances(mixed.json(), STORED) == names[:1], f"mixed: {mixed.status_code} {mixed.text}")
    check(mixed.json()[FAILED]["Value"][0]["00081197"]["Value"] == [0xC000], "the reason for what is no image")
    other = send([bytes_of("CT_small.dcm")], f"studies/{images[1].StudyInstanceUID}")
    check(other.status_code == 409 and other.json()[FAILED]["Value"][0]["00081197"]["Value"] == [0xA900], f"study: {other.text}")
    report = send([first[0] if b"1.2.840.10008.5.1.4.1.1.88" in first[0] else next(o for o in first if b"88.33" in o[:1000])])
    check(report.status_code == 409, f"a report sent as an image: {report.status_code}")
    Archive.full = True
    full = send([bytes_of("CT_small.dcm")])
    check(full.status_code == 409 and full.json()[FAILED]["Value"][0]["00081197"]["Value"] == [0x0110], f"full: {full.text}")
    archive.shutdown()
    archive.server_close()
    gone = send([bytes_of("CT_small.dcm")])
    check(gone.status_code == 409, f"without an archive: {gone.status_code}")
    service.terminate()
    check(service.wait(60) == 0, "the service did not end in order")
    for secret in (str(images[0].PatientName), images[0].PatientID):
        check(secret not in (work / "audit.jsonl").read_text() + service.stderr.read(), "the log has something of the patient")
    print(f"{args.run}: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
