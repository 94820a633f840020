#!/usr/bin/env bash
# Puts libtorch into ./.libtorch, taken from the `torch` wheel by pip, each wheel checked against its sha256.
#
#   scripts/libtorch.sh          the CPU flavour (437 MB)
#   scripts/libtorch.sh cuda     adds the wheel's CUDA libraries and the nvidia wheels that its metadata names (3.6 GB)
#
# The same binary runs with either: the CUDA library is opened at start when it is there.
set -euo pipefail
cd "$(dirname "$0")/.."

flavour="${1:-cpu}"
case "$flavour" in cpu | cuda) ;; *) echo "libtorch.sh: the flavour is 'cpu' or 'cuda', not '$flavour'" >&2; exit 2 ;; esac

torch_version=2.11.0
stamp=".libtorch/.flavour-$torch_version"
# The CUDA flavour holds all of the CPU flavour.
if [ -f "$stamp-$flavour" ] || [ -f "$stamp-cuda" ]; then exit 0; fi
[ "$(uname -sm)" = "Linux x86_64" ] || { echo "libtorch.sh: only Linux on x86-64 is set up by this script, this is $(uname -sm)" >&2; exit 1; }
command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 \
  || { echo "libtorch.sh: needs python3 with pip (apt-get install python3-pip)" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/libtorch.XXXXXX")
trap 'rm -rf "$work"' EXIT

# One wheel for every host Python, so that one sha256 holds.
fetch() { # requirement-file
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary=:all: --python-version 3.12 --implementation cp --abi cp312 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_24_x86_64 --platform manylinux_2_18_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --dest "$work/wheels" --requirement "$1"
}

echo "libtorch $torch_version ($flavour): downloading"
fetch scripts/libtorch-cpu.txt
[ "$flavour" = cpu ] || fetch scripts/libtorch-cuda.txt

echo "libtorch $torch_version ($flavour): unpacking"
python3 - "$work" "$flavour" <<'PY'
import pathlib, sys, zipfile

work, flavour = pathlib.Path(sys.argv[1]), sys.argv[2]
out = work / "libtorch"
cpu = {"libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libcudart.so.13", "libcupti.so.13"}
skip = {"libtorch_python.so", "libshm.so", "libtorch_global_deps.so"}

def place(archive, member, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, open(target, "wb") as sink:
        while block := source.read(1 << 22):
            sink.write(block)

for wheel in sorted((work / "wheels").glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            path = pathlib.PurePosixPath(member)
            if member.startswith("torch/include/") and not member.endswith("/"):
                place(archive, member, out / "include" / path.relative_to("torch/include"))
            elif ".so" in path.name and (member.startswith("torch/lib/") or member.startswith("nvidia/")):
                if path.name in cpu or (flavour == "cuda" and path.name not in skip):
                    place(archive, member, out / "lib" / path.name)
PY

rm -rf .libtorch
mv "$work/libtorch" .libtorch
# The system compiler asks for `-lgomp`; the wheel's own copy must be the one OpenMP runtime of the process.
ln -s libgomp.so.1 .libtorch/lib/libgomp.so
touch "$stamp-$flavour"
echo "libtorch $torch_version ($flavour): ready in .libtorch ($(du -sh .libtorch | cut -f1))"
