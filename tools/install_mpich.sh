#!/usr/bin/env bash
# Installs MPICH, with mpiexec and the standard ABI of MPI 5, from PyPI into a folder; nothing else is touched.
# Usage: tools/install_mpich.sh FOLDER; then PATH=FOLDER/bin:$PATH
set -euo pipefail
folder=${1:?usage: tools/install_mpich.sh FOLDER}
version=5.0.2
# Whether two processes can be started here.
works() { timeout 60 "$folder/bin/mpiexec" -n 2 true; }
if [ -x "$folder/bin/mpiexec" ]; then
  works
  exit
fi
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
# A wheel is a zip archive, and needs no virtual environment to be unpacked.
python3 -m pip download --quiet --no-deps --dest "$packages" "mpich==$version"
mkdir -p "$folder"
python3 - "$packages" "$folder" <<'PY'
import pathlib, shutil, sys, zipfile

packages, folder = map(pathlib.Path, sys.argv[1:])
unpacked = packages / "unpacked"
for wheel in packages.glob("*.whl"):
    zipfile.ZipFile(wheel).extractall(unpacked)
for data in unpacked.glob("*.data/data/*"):
    shutil.copytree(data, folder / data.name, dirs_exist_ok=True)
for program in (folder / "bin").iterdir():
    program.chmod(0o755)
PY
works
